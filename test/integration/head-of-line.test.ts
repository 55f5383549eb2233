/**
 * Protection of the head in numbers, by the real cycle on real PostgreSQL in virtual time: a gang that needs half of a
 * full cluster, and behind it small jobs without end, so that every GPU that is let go is taken at once. With the seed
 * here it starts after 38 ends; without protection it has not after 600.
 */
import { expect } from "chai";
import { endJob, markRunning } from "../../src/db/jobs/attempts.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { type CycleDependencies, runCycle } from "../../src/scheduler/cycle.ts";
import { EvictionProbe } from "../../src/scheduler/eviction-probe.ts";
import { noNamespaceQuotas } from "../support/namespace-quotas.ts";
import { mayAllGo } from "../support/gang-answers.ts";
import { PositionPace } from "../../src/scheduler/wait-reasons/position-pace.ts";
import { SearchTurns } from "../../src/scheduler/search-turns.ts";
import { WindowNotices } from "../../src/scheduler/windows/notices.ts";
import { Random } from "../simulator/random.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, monday } from "../support/fixtures.ts";
import { type VirtualTime, withVirtualTime } from "../support/virtual-time.ts";

const pool = "default";
const nodes = 4;
const gpusPerNode = 8;
const waitingSmalls = 12;
const minSeconds = 300;
const maxSeconds = 3600;
/** Without protection it does not start in as many ends either. */
const maxEnds = 600;

interface JobRow {
  readonly id: string;
  readonly attempt: number;
}

interface Run extends JobRow {
  readonly endsAt: number;
}

describe("the head reservation on a full cluster", function () {
  this.timeout(300_000);
  let database: TestDatabase;
  let time: VirtualTime;
  let project: string;
  let nowSeconds = 0;
  const random = new Random(20_261_124);
  const running = new Map<string, Run>();

  before(async () => {
    database = await createTestDatabase();
    time = await withVirtualTime(database);
    await time.setNow(monday);
    project = await addProject(time.pool, "team");
    for (let index = 0; index < nodes; index += 1)
      await addNode(time.pool, `node-${index}`, gpusPerNode);
  });
  after(async () => {
    await time.close();
    await database.drop();
  });

  const now = () => monday.add({ seconds: nowSeconds });
  const dependencies = (): CycleDependencies => {
    const clock: Clock = {
      now,
      monotonicSeconds: () => nowSeconds,
      sleep: () => Promise.reject(new Error("nothing sleeps in virtual time")),
    };
    return {
      db: time.pool,
      clock,
      logger: silentLogger,
      timeZone: "UTC",
      unmeteredResources: ["rdma/*"],
      namespaceQuotas: noNamespaceQuotas,
      claimLimit: 500,
      reservationSeconds: 300,
      avoidNodeSeconds: 600,
      windowWarningSeconds: 900,
      windowGraceSeconds: 300,
      notices: new WindowNotices(),
      probe: new EvictionProbe(() => Promise.resolve(mayAllGo), clock),
      explain: () => {},
      positions: new PositionPace(clock),
      turns: new SearchTurns(),
      onChanged: () => {},
      observe: () => {},
      checkpoint: () => {},
    };
  };
  const submitSmalls = async (): Promise<void> => {
    const { rows } = await time.pool.query<{ count: number }>(
      "SELECT count(*)::int FROM jobs WHERE status = 'pending' AND parallelism = 1",
    );
    for (let count = rows[0]?.count ?? 0; count < waitingSmalls; count += 1)
      await addJob(time.pool, project, { queuedAt: now() });
  };
  const cycle = async (deps: CycleDependencies): Promise<void> => {
    await runCycle(deps, pool, AbortSignal.timeout(60_000));
    const { rows } = await time.pool.query<JobRow>(
      "SELECT id, attempt FROM jobs WHERE status = 'starting' ORDER BY id",
    );
    for (const job of rows) {
      await markRunning(time.pool, job);
      const seconds = random.whole(minSeconds, maxSeconds);
      running.set(job.id, { ...job, endsAt: nowSeconds + seconds });
    }
  };
  const waitForAnEnd = async (): Promise<void> => {
    const [next] = [...running.values()].sort((one, other) => one.endsAt - other.endsAt);
    if (!next) throw new Error("nothing runs");
    nowSeconds = next.endsAt;
    await time.setNow(now());
    running.delete(next.id);
    await endJob(time.pool, {
      ...next,
      outcome: "succeeded",
      reason: "Completed",
      message: "well",
    });
  };

  it("starts the head, and idles no more than needed", async () => {
    const deps = dependencies();
    for (let round = 0; round * waitingSmalls <= nodes * gpusPerNode; round += 1) {
      await submitSmalls();
      await cycle(deps);
    }
    expect(running.size, "the cluster is full").to.equal(nodes * gpusPerNode);
    const asked = { parallelism: 2, gpus: gpusPerNode };
    const head = await addJob(time.pool, project, {
      queuedAt: monday,
      parallelism: asked.parallelism,
      perPod: { gpus: asked.gpus, cpuMillis: 1000, memoryBytes: 2 ** 30 },
    });
    const arrival = nowSeconds;
    const lastEnd = Math.max(...[...running.values()].map(({ endsAt }) => endsAt));
    let ends = 0;
    for (; !running.has(head) && ends < maxEnds; ends += 1) {
      await cycle(deps);
      if (running.has(head)) break;
      const idle = nodes * gpusPerNode - running.size;
      expect(idle, "GPUs that are idle while small jobs wait").to.be.at.most(
        asked.parallelism * asked.gpus,
      );
      await waitForAnEnd();
      await submitSmalls();
    }
    const told = `after ${ends} ends of small jobs and ${nowSeconds - arrival} s; the last that ran at its arrival had ${lastEnd - arrival} s left`;
    process.stdout.write(`      it starts ${told}\n`);
    expect(running.has(head), `the head starts ${told}`).to.equal(true);
    expect(nowSeconds, `the head starts ${told}`).to.be.at.most(lastEnd);
  });
});
