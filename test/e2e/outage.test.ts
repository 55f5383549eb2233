/** PostgreSQL, then the API server, is killed and away for a while; everything converges without help. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { type Postgres, removePostgresData, startPostgres } from "../../dev/local/postgres.ts";
import { waitFor } from "../../dev/local/wait.ts";
import { createPool, type DatabasePool } from "../../src/db/client/connection-pool.ts";
import { checkInvariants } from "../support/invariants.ts";
import { samplesOf } from "../support/operator-metrics.ts";
import { podType, useTeam } from "../support/team.ts";
import { owner, plan } from "../support/installation.ts";

/** Local servers forget the last moments before a crash; this one stands for one that does not. */
const settings = ["synchronous_commit=on"];

/** How long each outage lasts; pauses between tries grow meanwhile. */
const outageSeconds = Number(process.env["ROTA_OUTAGE_SECONDS"] ?? "20");
/** Jobs that change during an outage, so that many keys fail. */
const waitingJobs = 100;
/** Many keys may fail, and the log must not fill the disk. */
const maxLogLines = 200 + 6 * outageSeconds;
const maxGrowthBytes = 96 * 1024 ** 2;

describe("an outage", function () {
  this.timeout((outageSeconds + 280) * 1000);
  // An API server that has just started refuses what it has not read the roles for yet.
  const team = useTeam({ mayBeRejected: true, operator: false, objects: [plan("all", { owner })] });
  const { stateOf } = team;
  let postgres: Postgres;
  let db: DatabasePool;
  const directory = mkdtempSync(join(tmpdir(), "rota-outage-"));

  before(async () => {
    postgres = await startPostgres({ directory, settings });
    await team.cluster.addNodes({ count: 2, gpus: 8, namePrefix: "n-" });
    await team.operate({ DATABASE_URL: postgres.url });
    // Connections are lost on purpose: the pool opens others.
    db = createPool(postgres.url, { onError: () => undefined });
    await team.ready();
  });

  after(async () => {
    await db?.end();
    await postgres?.stop();
    removePostgresData(directory);
  });

  const complete = (pod: string) => team.annotate(pod, { "rota.dev/simulate-run-seconds": "0" });
  const attempts = async () => {
    const { rows } = await db.query<{ name: string; status: string; attempt: number }>(
      "SELECT name, status::text, attempt FROM jobs ORDER BY name",
    );
    return Object.fromEntries(
      rows.map(({ name, status, attempt }) => [name, `${status} ${attempt}`]),
    );
  };

  const waitingJob = (index: number): string => `waits-${index}`;
  const eachWaiting = (action: (name: string) => Promise<unknown>): Promise<unknown> =>
    Promise.all(Array.from({ length: waitingJobs }, (_, index) => action(waitingJob(index))));

  interface Vitals {
    readonly logLines: number;
    readonly memoryBytes: number;
  }
  const vitals = async (): Promise<Vitals> => {
    const [memory] = await samplesOf(team.operator, "process_resident_memory_bytes");
    const logLines = readFileSync(team.operator.logFile, "utf8").split("\n").length;
    return { logLines, memoryBytes: memory?.value ?? 0 };
  };
  /** What the outage has cost the operator, who is still the same process. */
  const checkVitals = async (before: Vitals, startMs: number): Promise<void> => {
    const after = await vitals();
    const logLines = after.logLines - before.logLines;
    const growthBytes = after.memoryBytes - before.memoryBytes;
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    const memory = [before, after].map(({ memoryBytes }) => Math.round(memoryBytes / 1024 ** 2));
    console.log(
      `      ${outageSeconds} s away: all well ${seconds} s after the return; ${logLines} log lines, RSS ${memory.join(" to ")} MiB`,
    );
    expect(before.memoryBytes).to.be.above(0);
    expect(logLines, "log lines").to.be.at.most(maxLogLines);
    expect(growthBytes, "growth of memory").to.be.at.most(maxGrowthBytes);
  };

  it("of PostgreSQL loses nothing, and repeats no start", async () => {
    const { view } = team;
    for (const name of ["ends", "loses", "stays", "goes"]) {
      await team.submit(name, { gpus: 2 });
      await stateOf(name, "Running");
    }
    const before = await vitals();
    const awayMs = performance.now();
    process.kill(postgres.pid, "SIGKILL");
    await waitFor(
      async () => /database/.test(await (await fetch(`${team.operator.url}/readyz`)).text()),
      {
        what: "the operator to name the database",
        timeoutMs: 60_000,
      },
    );
    await complete("ends-1-0");
    await view.client.delete(podType, "team/loses-1-0");
    await team.cancel("goes");
    await team.submit("arrives", { gpus: 2 });
    await eachWaiting((name) => team.submit(name, { gpus: 16 }));
    await view.until("the pods to be gone", async () => {
      const pods = await view.pods();
      return !pods.some(({ name }) => name === "loses-1-0" || name === "ends-1-0");
    });
    expect(team.operator.pid, "it waits rather than ends").to.satisfy((pid: number) =>
      process.kill(pid, 0),
    );

    await delay(outageSeconds * 1000 - (performance.now() - awayMs));
    const returnMs = performance.now();
    postgres = await startPostgres({ directory, settings });
    await Promise.all([stateOf("ends", "Succeeded"), stateOf("arrives", "Running")]);
    await team.runs("loses", 2);
    await view.until("the deleted job to be cancelled", async () => {
      return (await attempts())["goes"] === "cancelled 1";
    });
    await view.until("all jobs that arrived to say why they wait", async () => {
      const waiting = (await view.jobs()).filter(
        ({ status }) => status.queuePosition !== undefined,
      );
      return waiting.length === waitingJobs;
    });
    await checkVitals(before, returnMs);
    await eachWaiting((name) => team.cancel(name));
    await view.until("the waiting jobs to be cancelled", async () => {
      const { rows } = await db.query("SELECT FROM jobs WHERE status = 'pending'");
      return rows.length === 0;
    });
    const others = Object.entries(await attempts()).filter(([name]) => !name.startsWith("waits-"));
    expect(Object.fromEntries(others)).to.deep.equal({
      arrives: "running 1",
      ends: "succeeded 1",
      goes: "cancelled 1",
      loses: "running 2",
      stays: "running 1",
    });
    await checkInvariants(view, db);
  });

  it("of the API server delays a preemption, which then finishes", async () => {
    const { view, cluster } = team;
    await team.pool("edge");
    await team.submit("victim", {
      gpus: 8,
      pool: "edge",
      annotations: { "rota.dev/simulate-termination-seconds": "3600" },
    });
    await stateOf("victim", "Running");
    await team.submit("urgent", { gpus: 8, pool: "edge", priorityClassName: "high" });
    await stateOf("urgent", "Reserved");
    const before = await vitals();
    const awayMs = performance.now();
    await cluster.kill("kube-apiserver", "SIGKILL");
    await waitFor(
      () =>
        view.jobs().then(
          () => false,
          () => true,
        ),
      { what: "the API server to be away", timeoutMs: 30_000 },
    );
    // Nobody can go on watching from where they were.
    await cluster.compact();
    await delay(outageSeconds * 1000 - (performance.now() - awayMs));
    await cluster.restart("kube-apiserver");
    const returnMs = performance.now();
    await team.letGo("victim");
    // The simulated kubelet, kube-scheduler and the operator come back one after the other, each after its own back-off.
    await waitFor(async () => (await team.job("urgent")).status.state === "Running", {
      what: "urgent to run after the outage",
      timeoutMs: 180_000,
    });
    const victims = await db.query(
      "SELECT victim, outcome::text FROM preemption_victims ORDER BY victim",
    );
    expect(victims.rows).to.deep.equal([{ victim: "team/victim", outcome: "Evicted" }]);
    await team.submit("after", { annotations: { "rota.dev/simulate-run-seconds": "0" } });
    await stateOf("after", "Succeeded");
    await checkVitals(before, returnMs);
    const relists = await samplesOf(team.operator, "rota_reflector_lists_total");
    expect(relists.find(({ labels }) => labels["resource"] === "pods")?.value).to.be.at.least(2);
    await checkInvariants(view, db);
    expect((await attempts())["urgent"]).to.equal("running 1");
  });
});
