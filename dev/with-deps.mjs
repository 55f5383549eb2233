// Runs a TypeScript file on the project's own Node (npm package `node`), after installing what is missing.
// Plain JavaScript, without dependencies: it is what runs first in a fresh clone, on whatever Node is there.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const stampFile = path.join(root, "node_modules", ".installed-lock");
const nodeBinary = path.join(root, "node_modules", ".bin", "node");

const lockHash = () =>
  createHash("sha256")
    .update(readFileSync(path.join(root, "package-lock.json")))
    .digest("hex");

const isInstalled = () =>
  existsSync(nodeBinary) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === lockHash();

function install() {
  console.error("Installing the npm packages of package-lock.json (about half a minute) ...");
  const args = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
  const result = spawnSync("npm", args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0) {
    console.error(
      `npm ci failed (${result.error?.message ?? `status ${result.status}`}); see above.`,
    );
    process.exit(1);
  }
  writeFileSync(stampFile, lockHash());
}

if (!isInstalled()) install();

const given = process.argv.slice(2);
const scriptAt = given.findIndex((argument) => !argument.startsWith("-"));
if (scriptAt === -1) {
  console.error("usage: node dev/with-deps.mjs [NODE-OPTION ...] FILE [ARGUMENT ...]");
  process.exit(2);
}
const nodeOptions = given.slice(0, scriptAt);
const [script, ...args] = given.slice(scriptAt);
const command = [...nodeOptions, path.resolve(root, script), ...args];
const child = spawn(nodeBinary, command, { stdio: "inherit" });
// A terminal's Ctrl-C reaches the child by itself; signals sent to this process alone are passed on.
for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
process.on("SIGINT", () => {
  if (!process.stdin.isTTY) child.kill("SIGINT");
});
child.on("exit", (code, signal) => {
  process.exit(code ?? (signal === "SIGINT" ? 130 : 143));
});
