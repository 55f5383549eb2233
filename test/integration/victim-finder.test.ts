/**
 * The SQL finder against brute force on a real database: what it proposes must be enough for the decision to find
 * the optimum, and nothing may be proposed too little even when the limits are as tight as can be.
 */
import { expect } from "chai";
import * as fc from "fast-check";
import type { PoolClient } from "pg";
import type { DatabasePool } from "../../src/db/pool.ts";
import { DEFAULT_LIMITS, findVictims, type FinderLimits } from "../../src/db/victim-finder.ts";
import { decide } from "../../src/domain/scheduling/decide.ts";
import type {
  LiveJob,
  NodeSnapshot,
  Resources,
  Snapshot,
  Verdict,
  VictimRequest,
} from "../../src/domain/scheduling/types.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { propertyRuns } from "../support/property.ts";
import { bestCost, compareCosts, costOf, podsFitting } from "../unit/scheduling/brute-force.ts";
import {
  aCeiling,
  aJob,
  aLiveJob,
  aNode,
  aSnapshot,
  type Scenario,
  scenarios,
  withVictims,
} from "../unit/scheduling/support.ts";

const TIGHT: FinderLimits = { closeNodes: 1, nodes: 1, siblings: 1 };

const uuid = (kind: number, index: number): string =>
  `00000000-0000-4000-8${String(kind).padStart(3, "0")}-${String(index).padStart(12, "0")}`;

/** One project per set of ceilings: owner 1 above, owner 2 below or alone. */
const PROJECTS = [
  { ceilings: "", path: "none", owner: null },
  { ceilings: "c0", path: "one", owner: 1 },
  { ceilings: "c1", path: "two", owner: 2 },
  { ceilings: "c0 c1", path: "one.both", owner: 2 },
] as const;

const CEILINGS: Readonly<Record<string, string>> = { c0: "1/GPU", c1: "2/GPU" };
const renamed = (ids: readonly string[]): string[] => ids.map((id) => CEILINGS[id] ?? id);

const projectOf = (ceilings: readonly string[]): string =>
  uuid(
    1,
    PROJECTS.findIndex((one) => one.ceilings === [...ceilings].sort().join(" ")),
  );

/** The scenario with the database's names for jobs and ceilings; only those of a type that a job asks for are its own. */
function forDatabase({ snapshot, live }: Scenario): Scenario {
  const jobs = live.map((job, index) =>
    Object.assign({}, job, {
      id: uuid(2, index),
      key: `ns/l${index}`,
      ceilings: job.perPod.gpus > 0 ? renamed(job.ceilings) : [],
      allocations: job.allocations.toSorted((a, b) => (a.node < b.node ? -1 : 1)),
    }),
  );
  const queue = snapshot.queue.map((job) =>
    Object.assign({}, job, { id: uuid(3, 0), ceilings: renamed(job.ceilings) }),
  );
  const ceilings = snapshot.ceilings.map((one) =>
    Object.assign({}, one, { id: CEILINGS[one.id] ?? one.id }),
  );
  const { victims: _victims, victimsFor: _asked, ...rest } = snapshot;
  return { live: jobs, snapshot: { ...rest, queue, ceilings } };
}

async function writeTree(client: PoolClient): Promise<void> {
  await client.query(
    `INSERT INTO resource_owners (id, kind) OVERRIDING SYSTEM VALUE VALUES (1, 'Group'), (2, 'Group')`,
  );
  for (const [index, { path, owner }] of PROJECTS.entries()) {
    const name = path.split(".").at(-1);
    const parent = path.includes(".") ? uuid(1, 1) : null;
    await client.query(
      `INSERT INTO projects (id, name, namespace, parent_id, path, owner_id) VALUES ($1, $2, $2, $3, $4, $5)`,
      [uuid(1, index), name, parent, path, owner],
    );
  }
  await client.query(
    `INSERT INTO resource_plans (plan_uid, plan_name, resource_owner_id, resource_type, pool, quantity, time_window, generation)
     SELECT gen_random_uuid(), 'plan-' || owner, owner, 'GPU', 'default', 1, int4range(0, 604800), 1
     FROM generate_series(1, 2) AS owner`,
  );
}

const amounts = (one: Resources): number[] => [one.gpus, one.cpuMillis, one.memoryBytes, one.pods];

async function writeNodes(client: PoolClient, { nodes }: Snapshot): Promise<void> {
  for (const { name, allocatable, committed, foreign, held } of nodes) {
    await client.query(
      `INSERT INTO nodes (
         name, uid, pool, schedulable, gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable,
         pods_allocatable, gpus_committed, cpu_millis_committed, memory_bytes_committed, pods_committed,
         gpus_foreign, cpu_millis_foreign, memory_bytes_foreign, pods_foreign
       )
       VALUES ($1, gen_random_uuid(), 'default', true, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
      [name, ...amounts(allocatable), ...amounts(committed), ...amounts(foreign)],
    );
    await client.query(
      `INSERT INTO holds (job_id, node_name, pods, gpus, cpu_millis, memory_bytes, expires_at)
       SELECT gen_random_uuid(), $1, 1, $2, 0, 0, now()`,
      [name, held.gpus],
    );
  }
}

/** Jobs on their way out, one per node: what they leave counts as free in the future. */
async function writeLeaving(client: PoolClient, { nodes }: Snapshot): Promise<void> {
  for (const [index, { name, leaving }] of nodes.entries()) {
    await client.query(
      `WITH job AS (
         INSERT INTO jobs (
           id, project_id, namespace, name, pool, priority, priority_class, status, attempt, parallelism, pod_gpus,
           pod_cpu_millis, pod_memory_bytes, created_at, allows_borrowing, preempts, backoff_limit, started_at
         )
         VALUES ($1, $2, 'ns', $3, 'default', 0, 'p', 'evicting', 1, 1, $5, 0, 0, now(), true, true, 0, now())
         RETURNING id
       )
       INSERT INTO allocations (
         job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes, pool, gang, priority, borrowing, evictable
       )
       SELECT id, 1, $4, 1, $5, 0, 0, 'default', 1, 0, false, false FROM job`,
      [uuid(4, index), uuid(1, 0), `leaving-${index}`, name, leaving.gpus],
    );
  }
}

async function writeJobs(client: PoolClient, live: readonly LiveJob[]): Promise<void> {
  for (const [index, job] of live.entries()) {
    const pods = job.allocations.reduce((sum, one) => sum + one.pods, 0);
    // One without GPUs runs below all plans of GPUs, and counts under none.
    const ceilings = Object.entries(CEILINGS).filter(
      ([, id]) => job.perPod.gpus === 0 || job.ceilings.includes(id),
    );
    await client.query(
      `INSERT INTO jobs (
         id, project_id, namespace, name, pool, priority, priority_class, status, attempt, parallelism, pod_gpus,
         pod_cpu_millis, pod_memory_bytes, created_at, borrowing, allows_borrowing, preempts, backoff_limit, started_at
       )
       VALUES ($1, $2, 'ns', $3, 'default', $4, 'p', 'running', 1, $5, $6, $7, 0, now(), $8, true, true, 0,
         to_timestamp($9))`,
      [
        job.id,
        projectOf(ceilings.map(([id]) => id)),
        `l${index}`,
        job.priority,
        pods,
        job.perPod.gpus,
        job.perPod.cpuMillis,
        job.borrowing,
        job.startedAtSeconds,
      ],
    );
    for (const { node, pods: count } of job.allocations) {
      await client.query(
        `INSERT INTO allocations (
           job_id, attempt, node_name, pods, gpus, cpu_millis, memory_bytes,
           pool, gang, priority, borrowing, started_at, evictable
         )
         SELECT id, 1, $2, $3, $4, $5, 0, pool, parallelism, priority, borrowing, started_at, true
         FROM jobs WHERE id = $1`,
        [job.id, node, count, job.perPod.gpus * count, job.perPod.cpuMillis * count],
      );
    }
  }
}

/** The scenario as rows, without triggers, gone when `work` is done. */
async function inDatabase<T>(
  pool: DatabasePool,
  scenario: Scenario,
  work: (client: PoolClient) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await client.query("SET LOCAL session_replication_role = replica");
    await writeTree(client);
    await writeNodes(client, scenario.snapshot);
    await writeLeaving(client, scenario.snapshot);
    await writeJobs(client, scenario.live);
    return await work(client);
  } finally {
    await client.query("ROLLBACK");
    client.release();
  }
}

interface Answer {
  readonly verdict: Verdict;
  readonly proposed: readonly LiveJob[];
}

/** As the cycle does it: decide, ask the finder, decide again. */
async function answer(
  client: PoolClient,
  { snapshot, live }: Scenario,
  limits: FinderLimits,
): Promise<Answer | undefined> {
  const { requests, wantsVictims } = decide(snapshot);
  if (wantsVictims.length === 0) return undefined;
  const budgets = new Map(live.flatMap((job) => (job.protected ? [[job.id, job.protected]] : [])));
  const proposed = await findVictims(client, "default", requests, budgets, limits);
  const again = decide({ ...snapshot, victims: proposed, victimsFor: wantsVictims });
  const [verdict] = again.verdicts;
  if (!verdict) throw new Error("no verdict");
  return { verdict, proposed };
}

const dimensions = ["gpus", "cpuMillis", "memoryBytes", "pods"] as const;

const mayEvict = ({ priority, inside, over, borrows }: VictimRequest, job: LiveJob): boolean => {
  const claims = over.length > 0;
  if (job.borrowing && (inside || claims)) return true;
  return job.priority < priority && (inside || claims || (borrows && job.borrowing));
};

/** Read naively: the jobs of a node whose leaving helps, and how many pods at least must for one more of the preemptor's. */
function boundOn(node: NodeSnapshot, request: VictimRequest, live: readonly LiveJob[]) {
  const podsOn = (job: LiveJob): number =>
    job.allocations.filter((one) => one.node === node.name).reduce((n, { pods }) => n + pods, 0);
  const gang = (job: LiveJob): number => job.allocations.reduce((n, { pods }) => n + pods, 0);
  const jobs = live.filter((job) => podsOn(job) > 0 && mayEvict(request, job));
  const lacking = dimensions
    .filter((one) => request.perPod[one] > 0)
    .map((one) => {
      const free = node.allocatable[one] - node.foreign[one] - node.committed[one];
      return { one, lacks: request.perPod[one] - (free + node.leaving[one] - node.held[one]) };
    })
    .filter(({ lacks }) => lacks > 0);
  const missing = lacking.map(({ one, lacks }) => {
    const freed = jobs.map((job) => podsOn(job) * job.perPod[one]);
    const perPod = jobs.map((job, index) => (freed[index] ?? 0) / gang(job));
    if (freed.reduce((sum, amount) => sum + amount, 0) < lacks) return Infinity;
    return Math.ceil(lacks / Math.max(...perPod) - 1e-9);
  });
  return {
    jobs: jobs.filter((job) => lacking.some(({ one }) => job.perPod[one] > 0)),
    fewestPods: missing.length > 0 ? Math.max(...missing) : Infinity,
  };
}

describe("victim finder, against brute force", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  const check = async (
    scenario: Scenario,
    limits: FinderLimits,
    judge: (verdict: Verdict, best: number[][] | undefined) => void,
  ): Promise<void> => {
    const found = await inDatabase(database.pool, scenario, (client) =>
      answer(client, scenario, limits),
    );
    if (!found) return;
    for (const job of found.proposed) {
      expect(job).to.deep.equal(scenario.live.find(({ id }) => id === job.id));
    }
    const [job] = scenario.snapshot.queue;
    if (!job) throw new Error("no job");
    judge(found.verdict, bestCost(scenario.snapshot, job, scenario.live));
  };

  it("proposes what makes the optimum for a single pod", async () => {
    await fc.assert(
      fc.asyncProperty(scenarios(1).map(forDatabase), (scenario) =>
        check(scenario, DEFAULT_LIMITS, (verdict, best) => {
          expect(verdict.kind).to.equal(best ? "preempt" : "wait");
          if (verdict.kind !== "preempt" || !best) return;
          const chosen = new Set(verdict.victims.map(({ jobId }) => jobId));
          const cost = costOf(scenario.live.filter(({ id }) => chosen.has(id)));
          expect(compareCosts(cost, best)).to.equal(0);
        }),
      ),
      propertyRuns(150),
    );
  });

  it("does not miss GPUs that nobody asks for, on a node where more are kept than there are", async () => {
    const perPod = { gpus: 0, cpuMillis: 16_000, memoryBytes: 0, pods: 1 };
    const live = [aLiveJob("l", [{ node: "n0", pods: 1 }], { perPod })];
    const node = aNode("n0", {
      allocatable: { gpus: 1, cpuMillis: 16_000, memoryBytes: 0, pods: 12 },
      held: { gpus: 3, cpuMillis: 0, memoryBytes: 0, pods: 1 },
    });
    const queue = [aJob("j", { perPod: { ...perPod, cpuMillis: 8000 } })];
    const snapshot = withVictims(aSnapshot({ nodes: [node], queue }), live);
    await check(forDatabase({ snapshot, live }), DEFAULT_LIMITS, (verdict, best) => {
      expect([verdict.kind, best !== undefined]).to.deep.equal(["preempt", true]);
    });
  });

  it("sees a node whose GPUs, which nobody asks for, others use past what it has", async () => {
    const perPod = { gpus: 0, cpuMillis: 16_000, memoryBytes: 0, pods: 1 };
    const live = [aLiveJob("l", [{ node: "n0", pods: 1 }], { perPod })];
    const node = aNode("n0", {
      allocatable: { gpus: 1, cpuMillis: 16_000, memoryBytes: 0, pods: 12 },
      foreign: { gpus: 2, cpuMillis: 0, memoryBytes: 0, pods: 1 },
    });
    const queue = [aJob("j", { perPod: { ...perPod, cpuMillis: 8000 } })];
    const snapshot = withVictims(aSnapshot({ nodes: [node], queue }), live);
    await check(forDatabase({ snapshot, live }), DEFAULT_LIMITS, (verdict, best) => {
      expect([verdict.kind, best !== undefined]).to.deep.equal(["preempt", true]);
    });
  });

  it("never proposes too little, however tight its limits, for gangs", async () => {
    await fc.assert(
      fc.asyncProperty(scenarios(4).map(forDatabase), (scenario) =>
        check(scenario, TIGHT, (verdict, best) => {
          expect(verdict.kind).to.equal(best ? "preempt" : "wait");
        }),
      ),
      propertyRuns(150),
    );
  });

  it("never misses the node where the fewest pods can be enough, however tight its limits", async () => {
    await fc.assert(
      fc.asyncProperty(scenarios(1).map(forDatabase), async (scenario) => {
        const { requests, wantsVictims } = decide(scenario.snapshot);
        const [request] = requests;
        if (!request || wantsVictims.length === 0) return;
        const bounds = scenario.snapshot.nodes.map((node) => boundOn(node, request, scenario.live));
        const least = Math.min(...bounds.map(({ fewestPods }) => fewestPods));
        const proposed = await inDatabase(database.pool, scenario, (client) =>
          findVictims(client, "default", requests, new Map(), TIGHT),
        );
        const ids = new Set(proposed.map(({ id }) => id));
        const best = bounds.filter(({ fewestPods }) => fewestPods === least);
        if (least === Infinity) return;
        expect(best.some(({ jobs }) => jobs.every(({ id }) => ids.has(id)))).to.equal(true);
      }),
      propertyRuns(300),
    );
  });

  it("looks further when neither the nearest node nor the one with the largest pod is as good as their bound", async () => {
    const pod = (gpus: number) => ({ perPod: { gpus, cpuMillis: 0, memoryBytes: 0, pods: 1 } });
    const on = (node: string) => ({ node, pods: 1 });
    const live = [
      aLiveJob("gang", [on("n0"), on("n3")], pod(1)),
      aLiveJob("large", [on("n1")], pod(7)),
      aLiveJob("beside", [on("n1")], pod(1)),
      aLiveJob("best", [on("n2")], pod(4)),
    ];
    const nodes = ["n0", "n1", "n2"].map((name) => aNode(name));
    const small = aNode("n3", { allocatable: { gpus: 1, cpuMillis: 0, memoryBytes: 0, pods: 9 } });
    const snapshot = withVictims(
      aSnapshot({ nodes: [...nodes, small], queue: [aJob("j", pod(8))] }),
      live,
    );
    await check(forDatabase({ snapshot, live }), TIGHT, (verdict) => {
      const victims = verdict.kind === "preempt" ? verdict.victims : [];
      expect(victims.map(({ jobId }) => jobId)).to.deep.equal([uuid(2, 3)]);
    });
  });

  it("does not hide borrowers that may go behind jobs that only a relieved ceiling would let go", async () => {
    const pod = (gpus: number) => ({ perPod: { gpus, cpuMillis: 0, memoryBytes: 0, pods: 1 } });
    const live = [
      aLiveJob("inside", [{ node: "n0", pods: 1 }], pod(2)),
      aLiveJob("beside", [{ node: "n1", pods: 1 }], pod(1)),
      aLiveJob("borrower", [{ node: "n1", pods: 1 }], { ...pod(1), borrowing: true }),
    ];
    const allocatable = { gpus: 3, cpuMillis: 0, memoryBytes: 0, pods: 9 };
    const nodes = ["n0", "n1"].map((name) => aNode(name, { allocatable }));
    const queue = [aJob("j", { ...pod(2), ceilings: ["c0"] })];
    const ceilings = [aCeiling("c0", 0, 0)];
    const snapshot = withVictims(aSnapshot({ nodes, ceilings, queue }), live);
    await check(forDatabase({ snapshot, live }), TIGHT, (verdict) => {
      const victims = verdict.kind === "preempt" ? verdict.victims : [];
      expect(victims.map(({ jobId }) => jobId)).to.deep.equal([uuid(2, 2)]);
    });
  });

  it("proposes for several jobs at once what it proposes for each alone", async () => {
    await fc.assert(
      fc.asyncProperty(scenarios(3).map(forDatabase), async (scenario) => {
        const [request] = decide(scenario.snapshot).requests;
        if (!request) return;
        const { perPod } = request;
        const requests = [
          request,
          { ...request, priority: request.priority + 1 },
          { ...request, perPod: { ...perPod, gpus: perPod.gpus + 1 } },
          { ...request, nodes: ["n0"] },
        ];
        await inDatabase(database.pool, scenario, async (client) => {
          const together = await findVictims(client, "default", requests);
          const ids = together.map(({ id }) => id);
          for (const one of requests) {
            const alone = await findVictims(client, "default", [one]);
            expect(ids).to.include.members(alone.map(({ id }) => id));
          }
        });
      }),
      propertyRuns(150),
    );
  });

  it("sees the room that the decision took before it was written", async () => {
    await fc.assert(
      fc.asyncProperty(scenarios(2).map(forDatabase), fc.nat({ max: 3 }), (scenario, gpus) => {
        const [job] = scenario.snapshot.queue;
        if (!job) throw new Error("no job");
        const first = { ...job, id: uuid(3, 1), key: "ns/first", priority: 99, parallelism: 1 };
        const perPod = { gpus, cpuMillis: 1000, memoryBytes: 0, pods: 1 };
        const queue = [{ ...first, perPod, ceilings: [], unplanned: false }, job];
        const [taken] = decide({ ...scenario.snapshot, queue }).verdicts;
        if (taken?.kind !== "admit") return Promise.resolve();
        const nodes = scenario.snapshot.nodes.map((node) => {
          const here = taken.placements.some((one) => one.node === node.name);
          const { committed } = node;
          const more = {
            gpus: committed.gpus + gpus,
            cpuMillis: committed.cpuMillis + 1000,
            memoryBytes: 0,
            pods: committed.pods + 1,
          };
          return here ? { ...node, committed: more } : node;
        });
        return inDatabase(database.pool, scenario, async (client) => {
          const after = { ...scenario.snapshot, nodes };
          const { requests, wantsVictims } = decide({ ...scenario.snapshot, queue });
          if (!wantsVictims.includes(job.id)) return;
          const victims = await findVictims(client, "default", requests);
          const asked = { ...scenario.snapshot, queue, victims, victimsFor: wantsVictims };
          const verdict = decide(asked).verdicts[1];
          const unprotected = scenario.live.map(({ protected: _budget, ...rest }) => rest);
          const best = bestCost(after, job, unprotected);
          expect(podsFitting(after, job, [])).to.be.at.least(0);
          expect(verdict?.kind).to.equal(best ? "preempt" : "wait");
        });
      }),
      propertyRuns(150),
    );
  });
});
