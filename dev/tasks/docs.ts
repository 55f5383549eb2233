/** `npm run docs`: regenerates docs/reference (and the other generated files). */
import { run } from "./shell.ts";

process.exitCode = run("node", ["dev/tasks/generate.ts"]);
