/**
 * What is too long for CI, again and again. Prints a table, and writes it with the commit to docs/benchmarks/soak.md.
 *
 *   npm run soak                                  all parts
 *   npm run soak -- suite e2e --runs 10           the tests of a level: unit, integration, e2e or node
 *   npm run soak -- file test/e2e/cli.test.ts     one file
 *   npm run soak -- properties --cases 20000      every property, with so many cases each
 *   npm run soak -- simulator --days 21 --runs 3  simulated weeks, a new seed for each run
 *   npm run soak -- faults                        kills, outages, elections and the tenants' model, for long
 *   npm run soak -- requests --cases 100000       so many random requests to both servers
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { projectRoot, run } from "./shell.ts";
import { levels, mochaArguments } from "./test-levels.ts";

/** One that takes longer hangs. */
const maxRunMs = 6 * 3_600_000;
const document = "docs/benchmarks/soak.md";

interface Step {
  /** The same for runs that are counted together. */
  readonly name: string;
  readonly command: "mocha" | "node";
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly prepare?: () => Promise<unknown>;
}

interface Outcome {
  readonly name: string;
  readonly passed: boolean;
  readonly seconds: number;
  /** Undefined where a program runs that is no test. */
  readonly tests?: number;
  /** Titles of the tests that failed. */
  readonly failures: readonly string[];
}

const usage = `usage: npm run soak -- [suite ${Object.keys(levels).join("|")} | file PATH | properties | simulator | faults | requests] [--runs N] [--cases N] [--days N]`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: "string" },
    cases: { type: "string" },
    days: { type: "string", default: "21" },
  },
});

/** A positive whole number, or an end with the usage. */
function count(text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${text} is not a positive whole number\n${usage}`);
}

const cases = (byDefault: number): number =>
  values.cases === undefined ? byDefault : count(values.cases);
const runs = (byDefault: number): number =>
  values.runs === undefined ? byDefault : count(values.runs);
const times = <T>(number: number, make: (index: number) => T): T[] =>
  Array.from({ length: number }, (_, index) => make(index));

function suite(name: string): Step[] {
  const level = levels[name];
  if (level === undefined) throw new Error(`${name} is no level of tests\n${usage}`);
  const { prepare } = level;
  const reason = level.whyNotHere?.();
  if (reason !== undefined) {
    console.error(`suite ${name} is left out: ${reason}`);
    return [];
  }
  return times(runs(10), () => ({
    name: `suite ${name}`,
    command: "mocha",
    args: mochaArguments(name, level),
    ...(prepare && { prepare }),
  }));
}

function file(path: string): Step[] {
  if (!existsSync(join(projectRoot, path))) throw new Error(`there is no file ${path}\n${usage}`);
  const args = ["--timeout=300000", path];
  return times(runs(10), () => ({ name: `file ${path}`, command: "mocha", args }));
}

function properties(): Step[] {
  return ["unit", "integration"].map((name) => ({
    name: `properties of ${name} tests, ${cases(20_000)} cases each`,
    command: "mocha",
    args: mochaArguments(name, { timeoutSeconds: maxRunMs / 1000, jobs: 2 }),
    env: { FC_RUNS: String(cases(20_000)) },
  }));
}

function simulator(): Step[] {
  const firstSeed = Math.floor(Math.random() * 1_000_000);
  return times(runs(3), (index) => ({
    name: `simulator, ${count(values.days)} days`,
    command: "node",
    args: ["test/simulator/main.ts", "--days", values.days, "--seed", String(firstSeed + index)],
  }));
}

/** A file of end-to-end tests with a setting of its own that makes it longer. */
function longer(name: string, file: string, env: Readonly<Record<string, string>>): Step {
  return { name, command: "mocha", args: ["--timeout=0", `test/e2e/${file}`], env };
}

const faults = (): Step[] => [
  longer("kills at every crash point", "crash.test.ts", { ROTA_CRASH_POINTS: "all" }),
  longer("200 kills", "crash-loop.test.ts", { ROTA_KILLS: "200" }),
  longer("outages of 5 minutes", "outage.test.ts", { ROTA_OUTAGE_SECONDS: "300" }),
  longer("watches under faults, 12 minutes", "runtime/reflector.test.ts", {
    ROTA_SOAK_MINUTES: "12",
  }),
  longer("elections under faults, 12 minutes", "runtime/election.test.ts", {
    ROTA_ELECTION_MINUTES: "12",
  }),
  longer("turns of the event loop with 3,000 jobs", "turns.test.ts", { ROTA_TURN_JOBS: "3000" }),
  longer("the Lease beside 1,280 different jobs", "lease.test.ts", { ROTA_LEASE_NODES: "32" }),
  longer("4,000 objects of our own kinds", "own-kinds.test.ts", { FC_RUNS: "4000" }),
  longer("tenants' model, 10 runs of 100 steps", "tenants/model.test.ts", {
    ROTA_MODEL_RUNS: "10",
    ROTA_MODEL_STEPS: "100",
  }),
];

function requests(): Step[] {
  const number = cases(100_000);
  const name = `${number.toLocaleString("en")} random requests`;
  return times(runs(1), () => longer(name, "requests.test.ts", { ROTA_REQUESTS: String(number) }));
}

function stepsOf([part, what]: readonly string[]): Step[] {
  if (part === "suite") return suite(what ?? "");
  if (part === "file") return file(what ?? "");
  if (part === "properties") return properties();
  if (part === "simulator") return simulator();
  if (part === "faults") return faults();
  if (part === "requests") return requests();
  if (part !== undefined) throw new Error(`${part} is unknown\n${usage}`);
  return [
    ...Object.keys(levels).flatMap(suite),
    ...properties(),
    ...simulator(),
    ...faults(),
    ...requests(),
  ];
}

interface Report {
  readonly stats: { readonly tests: number };
  readonly failures: readonly { readonly fullTitle: string }[];
}

/** What mocha reports; undefined where it did not come to its end. */
function readReport(file: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    return undefined;
  }
}

async function take({ name, command, args, env, prepare }: Step): Promise<Outcome> {
  await prepare?.();
  const folder = mkdtempSync(join(tmpdir(), "rota-soak-"));
  const file = join(folder, "report.json");
  const reporting =
    command === "mocha" ? ["--reporter=json", `--reporter-option=output=${file}`] : [];
  const started = performance.now();
  try {
    const status = run(command, [...args, ...reporting], env, maxRunMs);
    const report = readReport(file);
    const passed = status === 0 && (command === "node" || report !== undefined);
    const titles = report?.failures.map(({ fullTitle }) => fullTitle) ?? [];
    const unnamed = [`${command} ${args.slice(0, 5).join(" ")}`];
    return {
      name,
      passed,
      seconds: (performance.now() - started) / 1000,
      ...(report && { tests: report.stats.tests }),
      failures: passed || titles.length > 0 ? titles : unnamed,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const heads = ["what", "runs", "failed", "tests a run", "median s", "longest s"];

function rowOf(name: string, outcomes: readonly Outcome[]): string[] {
  const seconds = outcomes.map((outcome) => outcome.seconds).toSorted((a, b) => a - b);
  const numbers = [
    outcomes.length,
    outcomes.filter(({ passed }) => !passed).length,
    outcomes[0]?.tests ?? "",
    Math.round(seconds[Math.floor(seconds.length / 2)] ?? 0),
    Math.round(seconds.at(-1) ?? 0),
  ];
  return [name, ...numbers.map(String)];
}

const git = (...args: string[]): string =>
  execFileSync("git", args, { cwd: projectRoot, encoding: "utf8" }).trim();

/** The commit that is tested, and whether the work tree differs from it. */
function commitText(): string {
  const changed = git("status", "--porcelain", "--untracked-files=no") !== "";
  return `commit \`${git("rev-parse", "--short=10", "HEAD")}\`${changed ? " with uncommitted changes" : ""}`;
}

const loadText = (): string => (loadavg()[0] ?? 0).toFixed(1);

function failureText(outcomes: readonly Outcome[]): string {
  const titles = Map.groupBy(
    outcomes.flatMap(({ failures }) => failures),
    (title) => title,
  );
  if (titles.size === 0) return "No test failed.";
  const lines = [...titles].map(([title, { length }]) => `- ${title}: ${length} times`);
  return ["Failed:", "", ...lines].join("\n");
}

const asked = [
  "npm run soak",
  ...(process.argv.length > 2 ? ["--"] : []),
  ...process.argv.slice(2),
];
const tested = commitText();
const [begun, loadBefore] = [Temporal.Now.instant(), loadText()];
const outcomes: Outcome[] = [];
for (const step of stepsOf(positionals)) {
  const outcome = await take(step);
  outcomes.push(outcome);
  console.log(
    `== ${outcome.name}: ${outcome.passed ? "passed" : "FAILED"} in ${outcome.seconds.toFixed(0)} s`,
  );
}
const rows = [...Map.groupBy(outcomes, ({ name }) => name)].map(([name, own]) => rowOf(name, own));
const table = new Table({ head: heads, style: { head: [], border: [] } });
table.push(...rows);
console.log(`${table.toString()}\n${failureText(outcomes)}`);

const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
writeFileSync(
  join(projectRoot, document),
  `# Soak

The last run of \`npm run soak\`, which writes this page: what is too long for CI. Its parts are listed at the head of dev/tasks/soak.ts.

\`${asked.join(" ")}\`, ${begun.toString({ smallestUnit: "minute" })}, ${tested}; ${cpus().length} cores, load average ${loadBefore} at the start and ${loadText()} at the end, Node ${process.versions.node}.

${line(heads)}
${line(["---", ...heads.slice(1).map(() => "--:")])}
${rows.map(line).join("\n")}

${failureText(outcomes)}
`,
);
process.exitCode = outcomes.every(({ passed }) => passed) ? 0 : 1;
