/** kubectl-rota: `kubectl rota` once it is on the PATH. */
import { CommanderError } from "commander";
import packageFile from "../../package.json" with { type: "json" };
import { answerText, suggestions } from "./completion.ts";
import { createProgram, usageExitCode } from "./program.ts";

/** A closed pipe, as after `| head`, is no error. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  process.exit(error.code === "EPIPE" ? 0 : 1);
});
process.on("SIGINT", () => process.exit(130));

const program = createProgram((exitCode) => {
  process.exitCode = exitCode;
}, packageFile.version);

/** Called by the completion scripts, and by kubectl through kubectl_complete-rota. */
function complete(words: readonly string[]): void {
  process.stdout.write(`${answerText(suggestions(program, words))}\n`);
}

async function main([first, ...words]: readonly string[]): Promise<void> {
  if (first === "__complete") return complete(words);
  await program.parseAsync();
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = usageExitCode(error.code);
}
