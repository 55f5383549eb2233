/** Runs a command: `--help` prints its usage, errors become one line and an exit status. */
import { UsageError } from "./settings.ts";

/** @param usage printed instead, if the arguments ask for help */
export async function runCommand(usage: string, command: () => Promise<void>): Promise<void> {
  if (process.argv.slice(2).some((argument) => argument === "--help" || argument === "-h")) {
    console.log(usage);
    return;
  }
  try {
    await command();
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
