/** `npm test`: the checks and the named levels (unit, integration, e2e), one after the other; fails when any fails. */
import { levels, mochaArguments } from "./test-levels.ts";
import { run } from "./shell.ts";

async function runStage(name: string, passedOn: readonly string[]): Promise<boolean> {
  const level = levels[name];
  console.log(`\n== ${name}`);
  const started = performance.now();
  await level?.prepare?.();
  const passed = level
    ? run("mocha", mochaArguments(name, level, passedOn)) === 0
    : run("node", ["dev/tasks/check.ts"]) === 0;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`== ${name} ${passed ? "passed" : "FAILED"} in ${seconds} s`);
  return passed;
}

const isStage = (argument: string): boolean => argument === "check" || argument in levels;

const stages = process.argv.slice(2).filter(isStage);
const passedOn = process.argv.slice(2).filter((argument) => !isStage(argument));
const failed: string[] = [];
for (const name of stages) if (!(await runStage(name, passedOn))) failed.push(name);
if (failed.length > 0) console.error(`\nfailed: ${failed.join(", ")}`);
console.log(`stages: ${stages.length - failed.length} passed, ${failed.length} failed`);
process.exitCode = failed.length > 0 ? 1 : 0;
