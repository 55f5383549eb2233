/** The Go toolchain of this machine, used as it is configured. */
import { spawn, spawnSync } from "node:child_process";
import { guard, release } from "./watchdog.ts";

export const whatToDoWithoutGo =
  "Install Go 1.26 or newer (https://go.dev/dl), or set KUBECONFIG to a cluster to use instead.";

/** The version of Go that builds the module in this folder, such as "go1.26.3". */
export function goVersion(moduleFolder: string): string {
  const result = spawnSync("go", ["env", "GOVERSION"], { cwd: moduleFolder, encoding: "utf8" });
  if (result.error) {
    throw new Error(
      `The local control plane is built with Go, and there is no go command. ${whatToDoWithoutGo}`,
    );
  }
  if (result.status !== 0) {
    const reason = result.stderr.trim();
    throw new Error(
      `This Go cannot build the local control plane: ${reason}. ${whatToDoWithoutGo}`,
    );
  }
  return result.stdout.trim();
}

const keptLines = 30;

/** Runs `go build`; throws with the end of its output when it fails. */
export async function goBuild(
  moduleFolder: string,
  args: readonly string[],
  onLine: (line: string) => void,
  env: NodeJS.ProcessEnv = {},
): Promise<void> {
  // CGO would make the binary depend on this machine's C library; whoever needs it asks for it.
  const child = spawn("go", ["build", ...args], {
    cwd: moduleFolder,
    env: { ...process.env, CGO_ENABLED: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  // A build that outlived us would go on in a folder that the next builder clears.
  const { pid } = child;
  if (pid !== undefined) {
    guard(pid, "KILL");
    child.once("exit", () => release(pid));
  }
  const lastLines: string[] = [];
  const takeLine = (line: string): void => {
    lastLines.push(line);
    if (lastLines.length > keptLines) lastLines.shift();
    onLine(line);
  };
  const outputs = [child.stdout, child.stderr].map((stream) => eachLine(stream, takeLine));
  const status = await new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? signal));
  });
  await Promise.all(outputs);
  if (status !== 0) {
    throw new Error(`go build in ${moduleFolder} failed (${status}):\n${lastLines.join("\n")}`);
  }
}

async function eachLine(stream: NodeJS.ReadableStream, take: (line: string) => void) {
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  }
  if (rest !== "") take(rest);
}
