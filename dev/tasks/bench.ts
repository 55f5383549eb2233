/** `npm run bench -- NAME`: runs bench/NAME/main.ts, which prints a table and writes JSON below .local/bench. */
import { existsSync, globSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { projectRoot, run } from "./shell.ts";

const [name, ...args] = process.argv.slice(2);
const known = globSync("bench/*/main.ts", { cwd: projectRoot }).map((file) =>
  basename(dirname(file)),
);
if (name === undefined || !existsSync(join(projectRoot, "bench", name, "main.ts"))) {
  console.error(`usage: npm run bench -- NAME, where NAME is one of: ${known.sort().join(", ")}`);
  process.exitCode = 2;
} else {
  process.exitCode = run("node", [`bench/${name}/main.ts`, ...args]);
}
