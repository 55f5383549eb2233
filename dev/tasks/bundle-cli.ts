/** `npm run bundle:cli`: completes the kubectl-rota package in cli/ with its bundle, for `npm pack ./cli`. */
import { copyFileSync, mkdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundle } from "./bundler.ts";
import { projectRoot } from "./shell.ts";

const { values } = parseArgs({ options: { output: { type: "string", default: "cli" } } });
const sources = join(projectRoot, "cli");
const folder = resolve(projectRoot, values.output);
const outfile = join(folder, "bundle.mjs");
mkdirSync(folder, { recursive: true });
await bundle({
  entry: join(projectRoot, "src", "cli", "main.ts"),
  outfile,
  target: "node22",
  minify: true,
});
if (folder !== sources) {
  for (const name of ["kubectl-rota.mjs", "kubectl_complete-rota"]) {
    copyFileSync(join(sources, name), join(folder, name));
  }
}
console.log(`wrote ${outfile} (${(statSync(outfile).size / 1e6).toFixed(1)} MB)`);
if (folder === sources) console.log("Next: npm install --global ./cli");
