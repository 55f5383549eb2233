/** `npm test`: the checks and the named levels (unit, integration, e2e, node), one after the other; fails when any fails. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { levels, mochaArguments } from "./test-levels.ts";
import { run } from "./shell.ts";

const scratch = mkdtempSync(join(tmpdir(), "rota-test-"));
const failedTests = join(scratch, "failed");
writeFileSync(failedTests, "");
process.on("exit", () => rmSync(scratch, { recursive: true }));

type Outcome = "passed" | "FAILED" | "SKIPPED";

async function runStage(name: string, passedOn: readonly string[]): Promise<Outcome> {
  console.log(`\n== ${name}`);
  const started = performance.now();
  const outcome = await outcomeOf(name, passedOn);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`== ${name} ${outcome} in ${seconds} s`);
  return outcome;
}

async function outcomeOf(name: string, passedOn: readonly string[]): Promise<Outcome> {
  const level = levels[name];
  if (!level) return run("node", ["dev/tasks/check.ts"]) === 0 ? "passed" : "FAILED";
  const reason = level.whyNotHere?.();
  if (reason !== undefined) {
    console.error(reason);
    return process.env["CI"] === "true" ? "FAILED" : "SKIPPED";
  }
  await level.prepare?.();
  const env = { ROTA_FAILED_TESTS: failedTests };
  const args = [
    "--reporter=./dev/tasks/spec-reporter.ts",
    ...mochaArguments(name, level, passedOn),
  ];
  return run("mocha", args, env) === 0 ? "passed" : "FAILED";
}

const isStage = (argument: string): boolean => argument === "check" || argument in levels;

const stages = process.argv.slice(2).filter(isStage);
const passedOn = process.argv.slice(2).filter((argument) => !isStage(argument));
const outcomes = new Map<string, Outcome>();
for (const name of stages) outcomes.set(name, await runStage(name, passedOn));
const having = (outcome: Outcome): string[] =>
  stages.filter((name) => outcomes.get(name) === outcome);
const [passed, failed, skipped] = [having("passed"), having("FAILED"), having("SKIPPED")];
if (failed.length > 0)
  console.error(`\n${readFileSync(failedTests, "utf8")}failed: ${failed.join(", ")}`);
if (skipped.length > 0) console.error(`\nSKIPPED, see above: ${skipped.join(", ")}`);
console.log(`stages: ${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
process.exitCode = failed.length > 0 ? 1 : 0;
