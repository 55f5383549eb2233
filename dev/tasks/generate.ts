/** `npm run generate`: writes every generated file; with --check it writes nothing and fails on drift. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { projectRoot } from "./shell.ts";
import { generators } from "./generators.ts";

const check = process.argv.includes("--check");
let drifted = 0;
for (const generate of generators) {
  for (const { path, content } of await generate()) {
    const file = join(projectRoot, path);
    if (existsSync(file) && readFileSync(file, "utf8") === content) continue;
    drifted += 1;
    if (check) console.error(`${path} is out of date: run \`npm run generate\``);
    else {
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, content);
      console.log(`wrote ${path}`);
    }
  }
}
if (check && drifted > 0) process.exitCode = 1;
