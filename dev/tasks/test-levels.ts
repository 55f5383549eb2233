/** The levels of tests, and how mocha runs them. */
import { globSync } from "node:fs";
import { ensureGoTool, helm, kstatus, promtool } from "../local/go-tool.ts";
import { ensureNodePrograms } from "../local/real-nodes/programs.ts";
import { whyNoRealNodes } from "../local/real-nodes/requirements.ts";
import { ensureToolchain } from "../local/control-plane-build.ts";
import { projectRoot } from "./shell.ts";

export interface Level {
  readonly timeoutSeconds: number;
  /** Builds what its tests use: a first time takes longer than any test may. */
  readonly prepare?: () => Promise<unknown>;
  /** Why its tests cannot run on this machine; undefined when they can. In CI they must. */
  readonly whyNotHere?: () => string | undefined;
  /** Test files at once. */
  readonly jobs: number;
}

async function buildPrograms(): Promise<void> {
  await ensureToolchain();
  for (const tool of [promtool, helm, kstatus]) await ensureGoTool(tool);
}

async function buildNodes(): Promise<void> {
  await ensureToolchain();
  await ensureNodePrograms();
}

export const levels: Readonly<Record<string, Level>> = {
  unit: { timeoutSeconds: 180, jobs: 2 },
  integration: { timeoutSeconds: 120, jobs: 2 },
  e2e: { timeoutSeconds: 300, jobs: 2, prepare: buildPrograms },
  node: { timeoutSeconds: 180, jobs: 2, prepare: buildNodes, whyNotHere: whyNoRealNodes },
};

/** The arguments with which mocha runs a level, or of it the files that are passed on. Throws where it has no tests. */
export function mochaArguments(
  name: string,
  { jobs, timeoutSeconds }: Level,
  passedOn: readonly string[] = [],
): string[] {
  const all = globSync(`test/${name}/**/*.test.ts`, { cwd: projectRoot }).sort();
  if (all.length === 0) throw new Error(`test/${name} has no tests`);
  const files = passedOn.some((argument) => argument.endsWith(".test.ts")) ? [] : all;
  return [
    "--parallel",
    `--jobs=${jobs}`,
    `--timeout=${timeoutSeconds * 1000}`,
    "--forbid-only",
    ...passedOn,
    ...files,
  ];
}
