/** Runs the project's development tools as child processes with inherited output. */
import { spawnSync } from "node:child_process";
import { delimiter, join } from "node:path";
import { projectRoot } from "../local/paths.ts";

export { projectRoot };

export const toolPath = `${join(projectRoot, "node_modules", ".bin")}${delimiter}${process.env["PATH"] ?? ""}`;

/**
 * Runs one command in the project's root, without a limit of time unless one is given. Returns its exit status: 1 when it
 * could not be started, or took too long.
 */
export function run(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  timeoutMs?: number,
): number {
  const result = spawnSync(command, args, {
    cwd: projectRoot,
    stdio: "inherit",
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    env: { ...process.env, PATH: toolPath, ...env },
  });
  if (result.error) console.error(`${command}: ${result.error.message}`);
  return result.status ?? 1;
}
