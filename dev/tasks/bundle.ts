/** `npm run bundle [-- --output=dist]`: the operator as it is shipped, one file with its source map and the migrations beside it. */
import { cpSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundle } from "./bundler.ts";
import { projectRoot } from "./shell.ts";
import { thirdPartyNotices } from "./third-party-notices.ts";

const { values } = parseArgs({ options: { output: { type: "string", default: "dist" } } });
const folder = resolve(projectRoot, values.output);
/** Files that are read at run time: where they are, and where the bundle looks for them. */
const readAtRunTime = {
  migrations: "migrations",
  "node_modules/postgres-migrations/dist/migrations": "postgres-migrations/migrations",
};

mkdirSync(folder, { recursive: true });
const outfile = join(folder, "rota.mjs");
const metafile = await bundle({
  entry: join(projectRoot, "src", "main.ts"),
  outfile,
  sourceMap: true,
});
writeFileSync(join(folder, "THIRD-PARTY-NOTICES.txt"), thirdPartyNotices(metafile));
for (const [from, to] of Object.entries(readAtRunTime)) {
  rmSync(join(folder, to), { recursive: true, force: true });
  cpSync(join(projectRoot, from), join(folder, to), { recursive: true });
}
console.log(`wrote ${outfile} (${(statSync(outfile).size / 1e6).toFixed(1)} MB)`);
