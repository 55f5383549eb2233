/** `npm test`: the checks and the named levels (unit, integration, e2e), one after the other; fails when any fails. */
import { globSync } from "node:fs";
import { ensureGoTool, helm, kstatus, promtool } from "../local/go-tool.ts";
import { ensureToolchain } from "../local/control-plane-build.ts";
import { projectRoot, run } from "./shell.ts";

interface Level {
  readonly timeoutSeconds: number;
  /** Builds what its tests use: a first time takes longer than any test may. */
  readonly prepare?: () => Promise<unknown>;
  /** Test files at once. */
  readonly jobs: number;
}

async function buildPrograms(): Promise<void> {
  await ensureToolchain();
  for (const tool of [promtool, helm, kstatus]) await ensureGoTool(tool);
}

const levels: Readonly<Record<string, Level>> = {
  unit: { timeoutSeconds: 60, jobs: 2 },
  integration: { timeoutSeconds: 120, jobs: 2 },
  e2e: { timeoutSeconds: 300, jobs: 2, prepare: buildPrograms },
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

async function runStage(name: string, passedOn: readonly string[]): Promise<boolean> {
  const level = levels[name];
  console.log(`\n== ${name}`);
  const started = performance.now();
  await level?.prepare?.();
  const passed = level
    ? runTests(name, level, passedOn)
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
