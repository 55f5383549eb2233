/** libseccomp for the build of runc: the machine's own, else Debian's package, unpacked and not installed. */
import { execFile } from "node:child_process";
import { globSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const timeoutMs = 120_000;

const help =
  "Real nodes need runc, which is built with a C compiler, pkg-config and libseccomp's static library; " +
  "on Debian and Ubuntu: apt-get install gcc pkg-config libseccomp-dev";

/** Variables with which cgo finds the library; the folder is for temporary files. */
export async function findSeccomp(folder: string): Promise<NodeJS.ProcessEnv> {
  if (await links(folder, {})) return {};
  const unpacked = join(folder, "unpacked");
  await fetchPackage(folder, unpacked);
  const [description] = globSync("usr/**/libseccomp.pc", { cwd: unpacked });
  const [library] = globSync("usr/**/libseccomp.a", { cwd: unpacked });
  if (description === undefined || library === undefined) throw new Error(help);
  const env = {
    PKG_CONFIG_PATH: dirname(join(unpacked, description)),
    PKG_CONFIG_SYSROOT_DIR: unpacked,
    CGO_CFLAGS: `-I${join(unpacked, "usr", "include")}`,
    CGO_LDFLAGS: `-L${dirname(join(unpacked, library))}`,
  };
  if (!(await links(folder, env))) throw new Error(help);
  return env;
}

/** Whether a static program with libseccomp can be made, which pkg-config knows of too. */
async function links(folder: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const source = join(folder, "probe.c");
  const program = "#include <seccomp.h>\nint main(void) { return seccomp_api_get() == 0; }\n";
  writeFileSync(source, program);
  const flags = [env["CGO_CFLAGS"], env["CGO_LDFLAGS"]].filter((flag) => flag !== undefined);
  const args = ["-static", "-o", join(folder, "probe"), source, ...flags, "-lseccomp"];
  const options = { timeout: timeoutMs, env: { ...process.env, ...env } };
  try {
    await run("pkg-config", ["--exists", "libseccomp"], options);
    await run("gcc", args, options);
    return true;
  } catch {
    return false;
  }
}

async function fetchPackage(folder: string, unpacked: string): Promise<void> {
  const options = { cwd: folder, timeout: timeoutMs };
  const ownLists = ["-o", `Dir::State=${join(folder, "state")}`];
  const download = (...args: string[]) =>
    run("apt-get", [...args, "download", "libseccomp-dev"], options);
  try {
    await download().catch(async () => {
      // The machine's lists of packages may be absent or old; it keeps them as they are.
      mkdirSync(join(folder, "state", "lists", "partial"), { recursive: true });
      await run("apt-get", [...ownLists, "update"], options);
      await download(...ownLists);
    });
    const [file = ""] = globSync("libseccomp-dev_*.deb", { cwd: folder });
    await run("dpkg-deb", ["-x", file, unpacked], options);
  } catch (error) {
    throw new Error(help, { cause: error });
  }
}
