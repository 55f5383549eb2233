/** Whether this machine can have real nodes. */
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";

const need = "Real nodes need Linux, root and writable cgroups";

/** Bits of CapEff in /proc/self/status, by what a node does with them. */
const capabilities: Readonly<Record<string, bigint>> = {
  CAP_NET_ADMIN: 1n << 12n,
  CAP_SYS_ADMIN: 1n << 21n,
};

const controllers = ["cpu", "cpuset", "memory", "pids"];

/** What is missing here, in words; undefined when nothing is. */
export function whyNoRealNodes(): string | undefined {
  const missing = missingSystem() ?? missingCapability() ?? missingCgroup();
  return missing === undefined ? undefined : `${need}: ${missing}`;
}

export function requireRealNodes(): void {
  const reason = whyNoRealNodes();
  if (reason !== undefined) throw new Error(reason);
}

function missingSystem(): string | undefined {
  if (process.platform !== "linux") return `this is ${process.platform}`;
  const uid = process.getuid?.();
  return uid === 0 ? undefined : `this is user ${uid}`;
}

function missingCapability(): string | undefined {
  const status = readFileSync("/proc/self/status", "utf8");
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const absent = Object.entries(capabilities).find(([, bit]) => (effective & bit) === 0n);
  return absent && `root has no ${absent[0]} here`;
}

interface Hierarchy {
  readonly path: string;
  readonly controllers: readonly string[];
}

function missingCgroup(): string | undefined {
  const hierarchies = findHierarchies();
  const known = new Set(hierarchies.flatMap((hierarchy) => hierarchy.controllers));
  const absent = controllers.find((controller) => !known.has(controller));
  if (absent) return `the cgroup controller ${absent} is not there`;
  const readOnly = hierarchies.find(({ path }) => !canMakeFolder(path));
  return readOnly && `${readOnly.path} is not writable`;
}

/** v1 has a mount per controller, named in its options; v2 has one for all. */
function findHierarchies(): Hierarchy[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n");
  return mounts.flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const path = before.split(" ")[4] ?? "";
    const [type, , options = ""] = after.split(" ");
    if (type === "cgroup") return [{ path, controllers: options.split(",") }];
    return type === "cgroup2" ? [{ path, controllers: unifiedControllers(path) }] : [];
  });
}

function unifiedControllers(path: string): string[] {
  try {
    return readFileSync(join(path, "cgroup.controllers"), "utf8").trim().split(" ");
  } catch {
    return [];
  }
}

function canMakeFolder(path: string): boolean {
  const probe = join(path, `rota-probe-${process.pid}`);
  try {
    mkdirSync(probe);
    rmdirSync(probe);
    return true;
  } catch {
    return false;
  }
}
