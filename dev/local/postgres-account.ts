/** PostgreSQL refuses to run as root: which account runs it then, and what that account can reach. */
import { lstatSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** Undefined when we are not root: then PostgreSQL runs as we do. */
export function postgresAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = readFileSync("/etc/passwd", "utf8");
  // No account is created for this: every system has one of the two.
  const account = findAccount(passwd, "postgres") ?? findAccount(passwd, "nobody");
  if (!account) {
    throw new Error("PostgreSQL does not run as root, and there is no user postgres or nobody");
  }
  return account;
}

/** The account of this name in the text of /etc/passwd. */
export function findAccount(passwd: string, name: string): Account | undefined {
  const fields = passwd
    .split("\n")
    .map((line) => line.split(":"))
    .find(([candidate]) => candidate === name);
  const [uid, gid] = [Number(fields?.[2]), Number(fields?.[3])];
  return Number.isInteger(uid) && Number.isInteger(gid) && uid > 0 ? { uid, gid } : undefined;
}

const searchable = 0o001;

/** Whether any account may pass through this folder and all above it; a checkout below /root is not so. */
export function isReachable(folder: string): boolean {
  if ((statSync(folder).mode & searchable) === 0) return false;
  const parent = dirname(folder);
  return parent === folder || isReachable(parent);
}

/** Refuses a folder that somebody else put where we expect our own (in a temporary folder, say). */
export function assertOwn(folder: string): void {
  const { uid } = lstatSync(folder);
  if (uid !== process.getuid?.()) throw new Error(`${folder} belongs to another user (${uid})`);
}
