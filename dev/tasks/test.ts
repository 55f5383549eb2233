/** `npm test`: the checks and the named levels (unit, integration, e2e, node), one after the other; fails when any fails. */
import { globSync } from "node:fs";
import { ensureGoTool, helm, promtool } from "../local/go-tool.ts";
import { ensureNodePrograms } from "../local/real-nodes/programs.ts";
import { whyNoRealNodes } from "../local/real-nodes/requirements.ts";
import { ensureToolchain } from "../local/control-plane-build.ts";
import { projectRoot, run } from "./shell.ts";

interface Level {
  readonly timeoutSeconds: number;
  /** Builds what its tests use: a first time takes longer than any test may. */
  readonly prepare?: () => Promise<unknown>;
  /** Why its tests cannot run on this machine; undefined when they can. In CI they must. */
  readonly whyNotHere?: () => string | undefined;
  /** Test files at once. */
  readonly jobs: number;
}

type Outcome = "passed" | "FAILED" | "SKIPPED";

async function buildPrograms(): Promise<void> {
  await ensureToolchain();
  for (const tool of [promtool, helm]) await ensureGoTool(tool);
}

async function buildNodes(): Promise<void> {
  await ensureToolchain();
  await ensureNodePrograms();
}

const levels: Readonly<Record<string, Level>> = {
  unit: { timeoutSeconds: 60, jobs: 2 },
  integration: { timeoutSeconds: 120, jobs: 2 },
  e2e: { timeoutSeconds: 300, jobs: 2, prepare: buildPrograms },
  node: { timeoutSeconds: 180, jobs: 2, prepare: buildNodes, whyNotHere: whyNoRealNodes },
};

function runTests(name: string, level: Level, passedOn: readonly string[]): boolean {
  const files = globSync(`test/${name}/**/*.test.ts`, { cwd: projectRoot }).sort();
  const args = [
    "--parallel",
    `--jobs=${level.jobs}`,
    `--timeout=${level.timeoutSeconds * 1000}`,
    "--forbid-only",
    ...passedOn,
    ...files,
  ];
  return files.length > 0 && run("mocha", args) === 0;
}

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
  return runTests(name, level, passedOn) ? "passed" : "FAILED";
}

const isStage = (argument: string): boolean => argument === "check" || argument in levels;

const stages = process.argv.slice(2).filter(isStage);
const passedOn = process.argv.slice(2).filter((argument) => !isStage(argument));
const outcomes = new Map<string, Outcome>();
for (const name of stages) outcomes.set(name, await runStage(name, passedOn));
const having = (outcome: Outcome): string[] =>
  stages.filter((name) => outcomes.get(name) === outcome);
const [passed, failed, skipped] = [having("passed"), having("FAILED"), having("SKIPPED")];
if (failed.length > 0) console.error(`\nfailed: ${failed.join(", ")}`);
if (skipped.length > 0) console.error(`\nSKIPPED, see above: ${skipped.join(", ")}`);
console.log(`stages: ${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);
process.exitCode = failed.length > 0 ? 1 : 0;
