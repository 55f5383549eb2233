/** `npm run bundle:cli`: kubectl-rota as it is published, one file in cli/, for `npm pack ./cli`. */
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundle } from "./bundler.ts";
import { projectRoot } from "./shell.ts";

const { values } = parseArgs({ options: { output: { type: "string", default: "cli" } } });
const folder = resolve(projectRoot, values.output);
const outfile = join(folder, "kubectl-rota.mjs");
mkdirSync(folder, { recursive: true });
await bundle({
  entry: join(projectRoot, "src", "cli", "main.ts"),
  outfile,
  target: "node22",
  minify: true,
});
writeFileSync(outfile, `#!/usr/bin/env node\n${readFileSync(outfile, "utf8")}`);
chmodSync(outfile, 0o755);
console.log(`wrote ${outfile} (${(statSync(outfile).size / 1e6).toFixed(1)} MB)`);
