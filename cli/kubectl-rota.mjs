#!/usr/bin/env node
// The plugin's entry point. Plain JavaScript that any Node reads: it checks the version before the bundle is parsed.
const minMajor = 22;
const minMinor = 19;

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < minMajor || (major === minMajor && minor < minMinor)) {
  console.error(
    `kubectl rota needs Node ${minMajor}.${minMinor} or newer, this is ${process.versions.node}`,
  );
  process.exit(2);
}

/** One line: Node would print the bundle's minified source beside the error. */
function fail(error) {
  const text = error instanceof Error ? error.message : String(error);
  console.error(`error: ${text} (a bug in kubectl rota: please report it)`);
  process.exit(1);
}
process.on("uncaughtException", fail);
import("./bundle.mjs").catch(fail);
