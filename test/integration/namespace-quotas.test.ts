/** ResourceQuotas in cycles on a real database; the caches of the API server hold what the test says. */
import { expect } from "chai";
import { markRunning } from "../../src/db/jobs/attempts.ts";
import { fetchNextJobs } from "../../src/db/jobs/queue.ts";
import { readClaimedJobs } from "../../src/db/scheduling/queue.ts";
import type { NamespaceQuota } from "../../src/domain/namespace-quota.ts";
import type { PodUsage } from "../../src/domain/pod-usage.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { type CycleDependencies, runCycle } from "../../src/scheduler/cycle.ts";
import { EvictionProbe } from "../../src/scheduler/eviction-probe.ts";
import type { CachedPods, NamespaceQuotaSource } from "../../src/scheduler/namespace-quotas.ts";
import { PositionPace } from "../../src/scheduler/wait-reasons/position-pace.ts";
import { SearchTurns } from "../../src/scheduler/search-turns.ts";
import type { Round } from "../../src/scheduler/wait-reasons/publisher.ts";
import { WindowNotices } from "../../src/scheduler/windows/notices.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, monday, rejection, reserve } from "../support/fixtures.ts";
import { mayAllGo } from "../support/gang-answers.ts";

const perGpu = (gpus: number) => ({
  perPod: { gpus, cpuMillis: 1000, memoryBytes: 2 ** 30 },
  podUsage: {
    requests: { "nvidia.com/gpu": BigInt(gpus) * 1000n, cpu: 1000n },
    limits: { memory: 2n ** 62n },
    scopes: ["NotTerminating", "NotBestEffort"],
    priorityClassName: "",
  } satisfies PodUsage,
});

describe("ResourceQuotas of namespaces", () => {
  let database: TestDatabase;
  let team: string;
  /** In the caches. */
  let gpuQuota: { hard: bigint; used: bigint };
  let cached: Map<string, CachedPods>;
  let explained: Map<string, string>;

  beforeEach(async () => {
    database = await createTestDatabase();
    team = await addProject(database.pool, "team");
    gpuQuota = { hard: 8n, used: 0n };
    cached = new Map();
    explained = new Map();
  });
  afterEach(() => database.drop());

  const entry = "requests.nvidia.com/gpu";
  const source: NamespaceQuotaSource = {
    quotasOf: (namespace): readonly NamespaceQuota[] =>
      namespace === "team"
        ? [
            {
              namespace,
              name: "gpus",
              hard: { [entry]: gpuQuota.hard * 1000n },
              used: { [entry]: gpuQuota.used * 1000n },
              selectors: [],
            },
          ]
        : [],
    podsOf: ({ name }) => cached.get(name) ?? { made: 0, counted: 0, existing: 0 },
  };

  const explain = (_pool: string, { explained: told }: Round): void => {
    for (const { jobId, message } of told) explained.set(jobId, message);
  };

  const cycle = (pool = "default") =>
    runCycle(
      {
        db: database.pool,
        clock: systemClock,
        logger: silentLogger,
        timeZone: "UTC",
        unmeteredResources: [],
        namespaceQuotas: source,
        claimLimit: 100,
        reservationSeconds: 300,
        avoidNodeSeconds: 600,
        windowWarningSeconds: 900,
        windowGraceSeconds: 300,
        notices: new WindowNotices(),
        probe: new EvictionProbe(() => Promise.resolve(mayAllGo), systemClock),
        explain,
        positions: new PositionPace(systemClock),
        turns: new SearchTurns(),
        onChanged: () => {},
        observe: () => {},
        checkpoint: () => {},
      } satisfies CycleDependencies,
      pool,
      AbortSignal.timeout(10_000),
    );

  const statuses = async (): Promise<Record<string, string>> => {
    const { rows } = await database.pool.query<{ name: string; status: string }>(
      "SELECT name, status FROM jobs",
    );
    return Object.fromEntries(rows.map(({ name, status }) => [name, status]));
  };

  it("count what a job was queued with, exactly", async () => {
    const { pool } = database;
    const { podUsage } = perGpu(2);
    const id = await addJob(pool, team, perGpu(2));
    const [claimed] = await readClaimedJobs(pool, { pool: "default", unmetered: [] }, [id]);
    expect(claimed?.job.podUsage).to.deep.equal(podUsage);
    const bare = await addJob(pool, team);
    await pool.query("UPDATE job_specs SET pod_usage = '{}' WHERE job_id = $1", [bare]);
    expect(
      (await readClaimedJobs(pool, { pool: "default", unmetered: [] }, [bare]))[0]?.job.podUsage,
    ).to.deep.equal({
      requests: {},
      limits: {},
      scopes: [],
      priorityClassName: "",
    });
    const requests = Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [`${"long-".repeat(12)}${index}/x`, 1n]),
    );
    const error = await rejection(addJob(pool, team, { podUsage: { ...podUsage, requests } }));
    expect(error.message).to.contain("16,384 bytes");
  });

  it("keep jobs apart that count differently", async () => {
    const limited = { ...perGpu(1).podUsage, limits: { cpu: 1n } };
    for (const podUsage of [perGpu(1).podUsage, perGpu(1).podUsage, limited])
      await addJob(database.pool, team, { ...perGpu(1), podUsage });
    const claim = { pool: "default", limit: 10, now: monday, perSignature: 1 };
    expect(await fetchNextJobs(database.pool, claim)).to.have.lengthOf(2);
  });

  it("hold a job back that evicts nobody, and nobody else", async () => {
    const { pool } = database;
    const other = await addProject(pool, "other");
    await addNode(pool, "n1", 8);
    const runner = { ...perGpu(6), name: "runner", namespace: "other" };
    const running = await addJob(pool, other, runner);
    await cycle();
    await markRunning(pool, { id: running, attempt: 1 });
    gpuQuota = { hard: 7n, used: 0n };
    const large = await addJob(pool, team, {
      ...perGpu(4),
      name: "large",
      parallelism: 2,
      priority: 100,
      preempts: true,
    });
    await addJob(pool, team, { ...perGpu(1), name: "small" });
    await addJob(pool, other, { ...perGpu(1), name: "elsewhere", namespace: "other" });
    await addNode(pool, "n2", 8);
    const outcome = await cycle();
    expect(await statuses()).to.deep.equal({
      runner: "running",
      large: "pending",
      small: "starting",
      elsewhere: "starting",
    });
    expect(explained.get(large)).to.equal(
      "ResourceQuota team/gpus: requests.nvidia.com/gpu at most 7, the job needs 8",
    );
    expect([...outcome.heldBackIn]).to.deep.equal(["team"]);
  });

  it("include pods that are decided and not made yet, and count none twice for good", async () => {
    const { pool } = database;
    await addNode(pool, "n1", 8);
    await addNode(pool, "n2", 8);
    await addJob(pool, team, { ...perGpu(3), name: "first", parallelism: 2, priority: 1 });
    await cycle();
    const next = await addJob(pool, team, { ...perGpu(3), name: "next" });
    const waits = async (used: number): Promise<void> => {
      await cycle();
      expect((await statuses())["next"]).to.equal("pending");
      expect(explained.get(next)).to.include(`${used} of 8 used, the job needs 3`);
    };
    await waits(6);
    // The cache of pods is ahead of the quota's.
    cached.set("first", { made: 1, counted: 1, existing: 1 });
    await waits(6);
    cached.set("first", { made: 2, counted: 2, existing: 2 });
    await waits(6);
    gpuQuota.used = 6n;
    await waits(6);
    // Its pods have ended, and the quota counts them for some moments.
    cached.set("first", { made: 2, counted: 0, existing: 2 });
    await waits(6);
    gpuQuota.used = 3n;
    await cycle();
    expect((await statuses())["next"]).to.equal("starting");
  });

  it("include reserved jobs, which start with their own share", async () => {
    const { pool } = database;
    await addNode(pool, "n1", 8);
    const id = await addJob(pool, team, { ...perGpu(6), name: "reserved", priority: 1 });
    await addJob(pool, team, { ...perGpu(3), name: "next" });
    const placements = [{ node: "n1", pods: 1 }];
    await reserve(pool, { id, attempt: 0, borrowing: true, placements });
    await cycle();
    expect(await statuses()).to.deep.equal({ reserved: "starting", next: "pending" });
  });

  it("hold for jobs that two pools decide about at once", async () => {
    const { pool } = database;
    const pools = ["left", "right"];
    for (const name of pools) await addNode(pool, `n-${name}`, 80, name);
    for (let round = 1; round <= 10; round += 1) {
      gpuQuota.hard = BigInt(8 * round);
      for (const name of pools)
        await addJob(pool, team, { ...perGpu(8), name: `${name}-${round}`, pool: name });
      await Promise.all(pools.map((name) => cycle(name)));
      const started = Object.values(await statuses()).filter((status) => status === "starting");
      expect(started).to.have.lengthOf(round);
    }
  });
});
