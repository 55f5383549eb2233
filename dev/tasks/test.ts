/** `npm test`: runs the named levels (unit, integration, e2e) with mocha, one after the other; fails when any fails. */
import { globSync } from "node:fs";
import { projectRoot, run } from "./shell.ts";

interface Level {
  readonly timeoutSeconds: number;
  readonly jobs: number;
}

const levels: Readonly<Record<string, Level>> = {
  unit: { timeoutSeconds: 60, jobs: 2 },
  integration: { timeoutSeconds: 120, jobs: 2 },
  e2e: { timeoutSeconds: 300, jobs: 2 },
};

const mochaArguments = (
  level: Level,
  files: readonly string[],
  passedOn: readonly string[],
): string[] => [
  "--parallel",
  `--jobs=${level.jobs}`,
  `--timeout=${level.timeoutSeconds * 1000}`,
  "--forbid-only",
  ...passedOn,
  ...files,
];

function runLevel(name: string, passedOn: readonly string[]): boolean {
  const level = levels[name];
  if (!level) throw new Error(`unknown test level ${name}: use ${Object.keys(levels).join(", ")}`);
  const files = globSync(`test/${name}/**/*.test.ts`, { cwd: projectRoot }).sort();
  const started = performance.now();
  console.log(`\n== ${name} tests: ${files.length} files`);
  const passed = files.length > 0 && run("mocha", mochaArguments(level, files, passedOn)) === 0;
  console.log(
    `== ${name} tests ${passed ? "passed" : "FAILED"} in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  return passed;
}

const wanted = process.argv.slice(2).filter((argument) => argument in levels);
const passedOn = process.argv.slice(2).filter((argument) => !(argument in levels));
const failed = wanted.filter((name) => !runLevel(name, passedOn));
if (failed.length > 0) console.error(`\nfailed: ${failed.join(", ")}`);
process.exitCode = failed.length > 0 ? 1 : 0;
