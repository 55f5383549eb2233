/**
 * Invariant 8: what one tenant at its worst costs another. Three phases: alone; beside the jobs of the greedy tenant,
 * which exist and wait; and with its flood of the HTTP API in addition.
 *
 *   npm run bench -- tenant [--jobs N] [--signatures N] [--requests-per-second N] [--samples N] [--padding N]
 *     [--fill-minutes N] [--phase-minutes N]
 *
 * On a slow machine the minutes are the bounds: as many jobs as were submitted by then, as many samples as were taken.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import type { Operator } from "../../dev/local/operator.ts";
import {
  startInstallation,
  type Installation,
  usualLease,
} from "../../test/support/installation.ts";
import {
  CalmTenant,
  flood,
  greedyJobsQueued,
  greedyJobsWait,
  setUpTenancy,
  submitGreedyJobs,
  type CalmSample,
} from "../../test/support/tenant-load/scene.ts";
import type { FloodReport } from "../../test/support/tenant-load/flood.ts";
import { readSamples, total } from "../engine/samples.ts";
import { percentile } from "../engine/measure.ts";

const { values } = parseArgs({
  options: {
    jobs: { type: "string", default: "50000" },
    signatures: { type: "string", default: "1000" },
    "requests-per-second": { type: "string", default: "1000" },
    samples: { type: "string", default: "30" },
    "fill-minutes": { type: "string", default: "60" },
    "phase-minutes": { type: "string", default: "10" },
    padding: { type: "string", default: "0" },
  },
});
const numberOf = (name: keyof typeof values): number => Number(values[name]);

const samplingMillis = 1000;
const mebibyte = 1024 ** 2;

/** What the operator says of itself, followed during a phase. */
class OperatorWatch {
  readonly #operator: Operator;
  readonly #started = performance.now();
  readonly #timer: NodeJS.Timeout;
  #firstCpuSeconds: number | undefined;
  #cpuSeconds = 0;
  #maxRssBytes = 0;
  #maxLoopDelaySeconds = 0;
  /** Metrics that did not come within a sampling period. */
  #missed = 0;

  constructor(operator: Operator) {
    this.#operator = operator;
    this.#timer = setInterval(() => void this.#read(), samplingMillis);
  }

  async #read(): Promise<void> {
    try {
      const signal = AbortSignal.timeout(samplingMillis);
      const text = await (await fetch(`${this.#operator.url}/metrics`, { signal })).text();
      const samples = readSamples(text);
      this.#cpuSeconds = total(samples, "process_cpu_seconds_total");
      this.#firstCpuSeconds ??= this.#cpuSeconds;
      this.#maxRssBytes = Math.max(
        this.#maxRssBytes,
        total(samples, "process_resident_memory_bytes"),
      );
      this.#maxLoopDelaySeconds = Math.max(
        this.#maxLoopDelaySeconds,
        total(samples, "rota_event_loop_delay_max_seconds"),
      );
    } catch {
      this.#missed += 1;
    }
  }

  stop() {
    clearInterval(this.#timer);
    const seconds = (performance.now() - this.#started) / 1000;
    return {
      seconds: Math.round(seconds),
      rssMebibytes: Math.round(this.#maxRssBytes / mebibyte),
      cores: Number(((this.#cpuSeconds - (this.#firstCpuSeconds ?? 0)) / seconds).toFixed(2)),
      maxLoopDelayMillis: Math.round(this.#maxLoopDelaySeconds * 1000),
      missedScrapes: this.#missed,
    };
  }
}

type OperatorUse = ReturnType<OperatorWatch["stop"]>;

interface Phase {
  readonly name: string;
  readonly samples: readonly CalmSample[];
  /** Why a sample came to no end. */
  readonly failures: readonly string[];
  readonly operator: OperatorUse;
  readonly flood?: FloodReport;
  readonly loadAverage: readonly number[];
}

async function phase(
  name: string,
  operator: Operator,
  calm: CalmTenant,
  startFlood?: () => Promise<() => Promise<FloodReport>>,
): Promise<Phase> {
  console.log(`${name} ...`);
  const watch = new OperatorWatch(operator);
  const stopFlood = await startFlood?.();
  const samples: CalmSample[] = [];
  const failures: string[] = [];
  const until = performance.now() + numberOf("phase-minutes") * 60_000;
  while (samples.length + failures.length < numberOf("samples") && performance.now() < until) {
    await calm.sample().then(
      (sample) => samples.push(sample),
      (error: unknown) => failures.push(String(error)),
    );
  }
  const report = await stopFlood?.();
  return {
    name,
    samples,
    failures,
    operator: watch.stop(),
    ...(report && { flood: report }),
    loadAverage: loadavg(),
  };
}

const shown: readonly (readonly [string, keyof CalmSample])[] = [
  ["submit to first status", "statusMillis"],
  ["submit to Running", "runningMillis"],
  ["GET queue", "queueMillis"],
  ["GET whoami", "whoamiMillis"],
];

function print(phases: readonly Phase[]): void {
  const table = new Table({
    head: [
      "phase",
      ...shown.map(([title]) => `${title}, ms p50/p99`),
      "RSS MiB",
      "cores",
      "loop ms",
    ],
  });
  for (const { name, samples, failures, operator } of phases) {
    const delays = shown.map(([, field]) => {
      const sorted = samples.map((sample) => sample[field]).toSorted((a, b) => a - b);
      return `${Math.round(percentile(sorted, 0.5))}/${Math.round(percentile(sorted, 0.99))}`;
    });
    const { rssMebibytes, cores, maxLoopDelayMillis } = operator;
    const title = `${name} (${samples.length} samples, ${failures.length} without end)`;
    table.push([title, ...delays, rssMebibytes, cores, maxLoopDelayMillis]);
  }
  console.log(table.toString());
  for (const { name, flood: answered } of phases)
    if (answered) console.log(`${name}: ${JSON.stringify(answered)}`);
}

async function measure(installation: Installation): Promise<object> {
  const operator = await installation.operate(usualLease);
  await setUpTenancy(installation);
  const calm = await CalmTenant.of(installation, operator);
  await calm.sample();
  const phases = [await phase("alone", operator, calm)];
  console.log("the greedy tenant submits ...");
  const filling = new OperatorWatch(operator);
  const asked = {
    jobs: numberOf("jobs"),
    signatures: numberOf("signatures"),
    padding: numberOf("padding"),
  };
  const seconds = numberOf("fill-minutes") * 60;
  const jobs = await submitGreedyJobs(installation, asked, seconds);
  const submittedSeconds = filling.stop().seconds;
  const settling = new OperatorWatch(operator);
  const unsettled = await greedyJobsWait(installation, operator, jobs, seconds).then(
    () => undefined,
    (error: unknown) => String(error),
  );
  const settled = settling.stop();
  const queued = await greedyJobsQueued(installation);
  const fill = { ...asked, jobs, submittedSeconds, queued, unsettled, settled };
  console.log(JSON.stringify(fill));
  phases.push(await phase(`beside ${jobs} waiting jobs`, operator, calm));
  const startFlood = () => flood(installation, operator, numberOf("requests-per-second"));
  phases.push(await phase("and its requests", operator, calm, startFlood));
  print(phases);
  return { fill, phases };
}

const installation = await startInstallation();
try {
  const result = await measure(installation);
  const folder = join(import.meta.dirname, "..", "..", ".local", "bench");
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "tenant.json");
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, loadAverage: loadavg() };
  writeFileSync(file, `${JSON.stringify({ machine, ...result }, undefined, 2)}\n`);
  console.log(`written to ${file}`);
} finally {
  await installation.stop();
}
