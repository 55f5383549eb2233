/**
 * The SQL finder against brute force on a real database: what it proposes must be enough for the decision to find
 * the optimum, and nothing may be proposed too little even when the limits are as tight as can be.
 */
import { expect } from "chai";
import type * as fc from "fast-check";
import type { PoolClient } from "pg";
import { createPool, type DatabasePool } from "../../src/db/client/connection-pool.ts";
import { DEFAULT_LIMITS, findVictims, type FinderLimits } from "../../src/db/scheduling/victims.ts";
import { decide } from "../../src/domain/scheduling/decide.ts";
import type { Verdict, VictimRequest } from "../../src/domain/scheduling/decision.ts";
import type { EvictionRejections } from "../../src/domain/scheduling/eviction-rejection.ts";
import type {
  LiveJob,
  NodeSnapshot,
  Placement,
  Resources,
  Snapshot,
} from "../../src/domain/scheduling/snapshot.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { reserve } from "../support/fixtures.ts";
import { assertInBatches, propertyRuns, Reached } from "../support/property.ts";
import { accepts } from "../unit/scheduling/brute-force.ts";
import {
  jobOf,
  judge,
  type Kind,
  kindsOf,
  minPercent,
  minPercentOfGangs,
} from "../unit/scheduling/oracle.ts";
import {
  CEILINGS,
  quotasOf,
  PROJECTS,
  type Scenario,
  scenarios,
} from "../unit/scheduling/scenarios.ts";
import {
  aQuota,
  aJob,
  aLiveJob,
  aNode,
  aSnapshot,
  FPGA,
  fpgasOf,
  resources,
  PORT,
  portsOf,
  sum,
  withVictims,
} from "../unit/scheduling/support.ts";

const TIGHT: FinderLimits = { closeNodes: 1, nodes: 1, siblings: 1 };
/** Scenarios in the database at once, each a pool of its own. */
const BATCH = 50;

const uuid = (kind: number, index: number): string =>
  `00000000-0000-4000-8${String(kind).padStart(3, "0")}-${String(index).padStart(12, "0")}`;

const projectId = (index: number): string => uuid(1, index);

/** The first project, if there are several, under whose quotas the job is. */
const projectOf = ({ quotas, perPod }: LiveJob): string =>
  projectId(PROJECTS.findIndex((one) => quotasOf(one.quotas, perPod).join() === quotas.join()));

/** The scenario as pool number `index`, with the names that it has in the database. */
function asPool({ snapshot, live }: Scenario, index: number): Scenario {
  const pool = `p${index}`;
  const renamed = (node: string): string => `${pool}-${node}`;
  const jobs = live.map((job, at) =>
    Object.assign({}, job, {
      id: uuid(2, index * 100 + at),
      key: `${pool}/l${at}`,
      allocations: job.allocations
        .map(({ node, pods }) => ({ node: renamed(node), pods }))
        .toSorted((a, b) => (a.node < b.node ? -1 : 1)),
    }),
  );
  const queue = snapshot.queue.map((job, at) =>
    Object.assign({}, job, {
      id: uuid(3, index * 100 + at),
      avoidNodes: job.avoidNodes.map(renamed),
    }),
  );
  const nodes = snapshot.nodes.map((node) => Object.assign({}, node, { name: renamed(node.name) }));
  const { victims: _victims, victimsFor: _asked, ...rest } = snapshot;
  return { live: jobs, snapshot: { ...rest, pool, nodes, queue } };
}

/** Rows of one table, named by column; the other columns have their defaults. */
async function insert(client: PoolClient, table: string, rows: readonly object[]): Promise<void> {
  const [first] = rows;
  if (first === undefined) return;
  const columns = Object.keys(first).join(", ");
  await client.query(
    `INSERT INTO ${table} (${columns}) OVERRIDING SYSTEM VALUE
     SELECT ${columns} FROM jsonb_populate_recordset(NULL::${table}, $1)`,
    [JSON.stringify(rows)],
  );
}

async function writeTree(client: PoolClient): Promise<void> {
  await insert(
    client,
    "resource_owners",
    [1, 2, 3].map((id) => ({ id, kind: "Group" })),
  );
  for (const [index, { path, owner }] of PROJECTS.entries()) {
    const parent = PROJECTS.findIndex((one) => `${one.path}.${nameOf(path)}` === path);
    await client.query(
      "INSERT INTO projects (id, name, namespace, parent_id, owner_id) VALUES ($1, $2, $2, $3, $4)",
      [projectId(index), nameOf(path), parent < 0 ? null : projectId(parent), owner ?? null],
    );
  }
}

const nameOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

/** What they grant is in the snapshot; the finder asks only for whom there are plans. */
const writePlans = (client: PoolClient, pools: readonly string[]) =>
  client.query(
    `INSERT INTO resource_plans (plan_uid, plan_name, resource_owner_id, resource_type, pool, quantity, time_window, generation)
     SELECT gen_random_uuid(), 'plan', split_part(quota, '/', 1)::bigint, substr(quota, strpos(quota, '/') + 1),
       pool, 1, int4range(0, 604800), 1
     FROM unnest($1::text[]) AS quota, unnest($2::text[]) AS pool`,
    [CEILINGS, pools],
  );

/** Commitments follow from the jobs. */
const nodeRows = ({ pool, nodes }: Snapshot): object[] =>
  nodes.map(({ name, schedulable, allocatable, otherUsage }) => ({
    name,
    uid: uuid(5, 0),
    pool,
    schedulable,
    gpus_allocatable: allocatable.gpus,
    cpu_millis_allocatable: allocatable.cpuMillis,
    memory_bytes_allocatable: allocatable.memoryBytes,
    pods_allocatable: allocatable.pods,
    gpus_other: otherUsage.gpus,
    cpu_millis_other: otherUsage.cpuMillis,
    memory_bytes_other: otherUsage.memoryBytes,
    pods_other: otherUsage.pods,
  }));

interface RowOptions {
  readonly id: string;
  readonly pool: string;
  readonly status: "pending" | "running" | "evicting";
  readonly perPod: Resources;
  readonly placements: readonly Placement[];
  readonly live?: LiveJob;
}

const jobRow = ({ id, pool, status, perPod, placements, live }: RowOptions): object => {
  const since = new Date((live?.startedAtSeconds ?? 0) * 1000).toISOString();
  return {
    id,
    project_id: live ? projectOf(live) : projectId(0),
    namespace: pool,
    name: live ? live.key.slice(pool.length + 1) : id,
    pool,
    priority: live?.priority ?? 0,
    priority_class: "p",
    status,
    attempt: status === "pending" ? 0 : 1,
    parallelism: placements.reduce((sum, { pods }) => sum + pods, 0),
    pod_gpus: perPod.gpus,
    pod_cpu_millis: perPod.cpuMillis,
    pod_memory_bytes: perPod.memoryBytes,
    created_at: since,
    started_at: since,
    admitted_at: since,
    borrowing: live?.borrowing ?? false,
    allows_borrowing: true,
    preempts: true,
    backoff_limit: 0,
    placement: status === "pending" ? null : placements,
  };
};

const nodeResourceRows = ({ nodes }: Snapshot): object[] =>
  nodes.flatMap(({ name, allocatable, otherUsage }) =>
    [
      { resource: FPGA, allocatable: fpgasOf(allocatable), other: fpgasOf(otherUsage) },
      { resource: PORT, allocatable: portsOf(otherUsage), other: portsOf(otherUsage) },
    ]
      .filter((row) => row.allocatable > 0)
      .map((row) => ({ node_name: name, ...row, committed: 0 })),
  );

/** In one statement, as the operator does it: allocations follow from both. */
async function insertJobs(client: PoolClient, jobs: readonly RowOptions[]): Promise<void> {
  const rows = jobs.map(jobRow);
  const columns = Object.keys(rows[0] ?? {}).join(", ");
  const wanted = jobs.flatMap(({ id, perPod: { byName = {} } }) =>
    Object.entries(byName).map(([resource, amount]) => ({
      job_id: id,
      resource,
      amount_per_pod: amount,
      resource_type: resource === FPGA ? FPGA : null,
    })),
  );
  await client.query(
    `WITH arrived AS (
       INSERT INTO jobs (${columns}) SELECT ${columns} FROM jsonb_populate_recordset(NULL::jobs, $1)
     )
     INSERT INTO job_resources SELECT * FROM jsonb_populate_recordset(NULL::job_resources, $2)`,
    [JSON.stringify(rows), JSON.stringify(wanted)],
  );
}

/** A pod for each node of which something is held or leaving. */
const podsOfNodes = (
  { pool, nodes }: Snapshot,
  kind: number,
  what: "reserved" | "leaving",
): Pick<RowOptions, "id" | "pool" | "perPod" | "placements">[] =>
  nodes
    .filter((node) => node[what].pods > 0)
    .map((node, index) => ({
      id: uuid(kind, Number(pool.slice(1)) * 100 + index),
      pool,
      perPod: node[what],
      placements: [{ node: node.name, pods: 1 }],
    }));

/** The scenarios as the operator writes them, by the database's own rules. */
async function write(client: PoolClient, scenarios: readonly Scenario[]): Promise<void> {
  const snapshots = scenarios.map(({ snapshot }) => snapshot);
  await writeTree(client);
  await writePlans(
    client,
    snapshots.map(({ pool }) => pool),
  );
  await insert(client, "nodes", snapshots.flatMap(nodeRows));
  await insert(client, "node_resources", snapshots.flatMap(nodeResourceRows));
  const running = scenarios.flatMap(({ snapshot, live }) =>
    live.map((job): RowOptions => {
      const { id, perPod, allocations: placements } = job;
      return { id, pool: snapshot.pool, status: "running", perPod, placements, live: job };
    }),
  );
  const leaving = snapshots
    .flatMap((snapshot) => podsOfNodes(snapshot, 4, "leaving"))
    .map((one): RowOptions => ({ ...one, status: "evicting" }));
  const reserved = snapshots
    .flatMap((snapshot) => podsOfNodes(snapshot, 6, "reserved"))
    .map((one): RowOptions => ({ ...one, status: "pending" }));
  await insertJobs(client, [...running, ...leaving, ...reserved]);
  for (const { id, placements } of reserved) {
    expect(await reserve(client, { id, attempt: 0, borrowing: false, placements })).to.equal(true);
  }
}

/** The scenarios as rows, gone when `work` is done. */
async function inDatabase(
  pool: DatabasePool,
  scenarios: readonly Scenario[],
  work: (client: PoolClient) => Promise<void>,
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query("BEGIN");
    await write(client, scenarios);
    await work(client);
  } finally {
    await client.query("ROLLBACK");
    client.release();
  }
}

const budgetsOf = (live: readonly LiveJob[]): EvictionRejections =>
  new Map(
    live.flatMap(({ id, attempt, protected: blocking, pastBudget }) => {
      const budget = blocking ?? pastBudget;
      return budget === undefined
        ? []
        : [[id, { budget, isOverdue: pastBudget !== undefined, attempt }]];
    }),
  );

/** As the cycle does it: decide, ask the finder, decide again. */
async function decideWithFinder(
  client: PoolClient,
  { snapshot, live }: Scenario,
  limits: FinderLimits,
): Promise<readonly Verdict[]> {
  const { verdicts, requests, wantsVictims } = decide(snapshot);
  if (wantsVictims.length === 0) return verdicts;
  const victims = await findVictims(client, snapshot.pool, requests, budgetsOf(live), limits);
  // With all that they use: a later round of the same decision may ask for more than this one.
  for (const job of victims) {
    expect(job).to.deep.equal(live.find(({ id }) => id === job.id));
  }
  return decide({ ...snapshot, victims, victimsFor: wantsVictims }).verdicts;
}

function firstOf(verdicts: readonly Verdict[]): Verdict {
  const [verdict] = verdicts;
  if (!verdict) throw new Error("no verdict");
  return verdict;
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
      const free = node.allocatable[one] - node.otherUsage[one] - node.committed[one];
      return { one, lacks: request.perPod[one] - (free + node.leaving[one] - node.reserved[one]) };
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

describe("the victim finder", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  /** Tries each of many scenarios, many at once in the database. */
  const tryAll = (
    values: fc.Arbitrary<Scenario>,
    cases: fc.Parameters<[Scenario]>,
    tryOne: (client: PoolClient, scenario: Scenario) => Promise<void>,
  ): Promise<void> =>
    assertInBatches(values, BATCH, cases, async (batch) => {
      const pools = batch.map(asPool);
      await inDatabase(database.pool, pools, async (client) => {
        for (const scenario of pools) await tryOne(client, scenario);
      });
    });

  /** Judges what is decided with the finder's help. */
  async function judgeAll(
    parallelism: number,
    cases: fc.Parameters<[Scenario]>,
    limits: FinderLimits,
    floors: Readonly<Record<Kind, number>>,
  ): Promise<void> {
    const reached = new Reached<Kind>();
    await tryAll(scenarios(parallelism), cases, async (client, scenario) => {
      const verdict = firstOf(await decideWithFinder(client, scenario, limits));
      judge(scenario, verdict, limits === DEFAULT_LIMITS);
      reached.note(kindsOf(scenario, verdict));
    });
    reached.expectPercent(floors);
  }

  it("proposes what makes the optimum for a single pod", () =>
    judgeAll(1, propertyRuns(1000), DEFAULT_LIMITS, minPercent));

  it("proposes sufficient, inclusion-minimal sets for gangs", () =>
    judgeAll(4, propertyRuns(1000), DEFAULT_LIMITS, minPercentOfGangs));

  it("never proposes too little, however tight its limits", () =>
    judgeAll(4, propertyRuns(1000), TIGHT, minPercentOfGangs));

  it("proposes for several jobs what it proposes for each", () =>
    tryAll(scenarios(3), propertyRuns(300), async (client, { snapshot }) => {
      const [request] = decide(snapshot).requests;
      if (!request) return;
      const { perPod } = request;
      const requests = [
        request,
        { ...request, priority: request.priority + 1 },
        { ...request, perPod: { ...perPod, gpus: perPod.gpus + 1 } },
        { ...request, nodes: [`${snapshot.pool}-n0`] },
      ];
      const together = await findVictims(client, snapshot.pool, requests);
      const ids = together.map(({ id }) => id);
      for (const one of requests) {
        const alone = await findVictims(client, snapshot.pool, [one]);
        expect(ids).to.include.members(alone.map(({ id }) => id));
      }
    }));

  it("counts capacity that the same decision has taken", async () => {
    const reached = new Reached<"asked" | "preemption">();
    await tryAll(scenarios(2), propertyRuns(1000), async (client, { snapshot, live }) => {
      const job = jobOf({ snapshot, live });
      const first = aJob(uuid(7, 0), { priority: 99, perPod: resources(2, 2, 1, 2) });
      const both = { ...snapshot, queue: [first, job] };
      const [taken] = decide(both).verdicts;
      if (taken?.kind !== "admit") return;
      const [, verdict] = await decideWithFinder(client, { snapshot: both, live }, DEFAULT_LIMITS);
      if (!verdict) throw new Error("no verdict");
      const nodes = snapshot.nodes.map((node) =>
        taken.placements.some((one) => one.node === node.name)
          ? { ...node, committed: sum(node.committed, first.perPod, 1) }
          : node,
      );
      judge({ snapshot: { ...snapshot, nodes }, live }, verdict);
      const asked = decide(both).wantsVictims.includes(job.id);
      reached.note({ asked, preemption: verdict.kind === "preempt" });
    });
    reached.expectPercent({ asked: 20, preemption: 10 });
  });

  const verdictOn = async (scenario: Scenario, limits = DEFAULT_LIMITS): Promise<Verdict> => {
    const pool = asPool(scenario, 0);
    let verdict: Verdict | undefined;
    await inDatabase(database.pool, [pool], async (client) => {
      verdict = firstOf(await decideWithFinder(client, pool, limits));
      judge(pool, verdict, limits === DEFAULT_LIMITS);
    });
    if (!verdict) throw new Error("no verdict");
    return verdict;
  };

  it("ignores a resource that is not requested", async () => {
    const live = [
      aLiveJob("gpus", [{ node: "n0", pods: 1 }], { perPod: resources(2, 1, 1), priority: 999 }),
      aLiveJob("cores", [{ node: "n0", pods: 1 }], { perPod: resources(0, 6, 1) }),
    ];
    const nodes = [
      aNode("n0", { allocatable: resources(2, 8, 9, 9), reserved: resources(1, 0, 1) }),
    ];
    const queue = [aJob("j", { perPod: resources(0, 6, 1) })];
    const snapshot = withVictims(aSnapshot({ nodes, queue }), live);
    expect(await verdictOn({ snapshot, live })).to.include({ kind: "preempt" });
  });

  it("lets the decision name a budget among the obstacles", async () => {
    const live = [
      aLiveJob("guarded", [{ node: "n0", pods: 1 }], {
        perPod: resources(4, 0, 1),
        protected: "keep",
      }),
      aLiveJob("other", [{ node: "n0", pods: 1 }], { perPod: resources(4, 0, 1) }),
    ];
    const nodes = [aNode("n0", { allocatable: resources(8, 8, 9, 9) })];
    const queue = [aJob("j", { perPod: resources(8, 0, 1) })];
    const snapshot = withVictims(aSnapshot({ nodes, queue }), live);
    expect(await verdictOn({ snapshot, live })).to.include({ reason: "BlockedByDisruptionBudget" });
  });

  it("lets borrowers go whose budget has delayed them long enough, and names it", async () => {
    const perPod = resources(4, 0, 1);
    const live = ["one", "two"].map((id) =>
      aLiveJob(id, [{ node: "n0", pods: 1 }], { perPod, borrowing: true, pastBudget: "keep" }),
    );
    const nodes = [aNode("n0", { allocatable: resources(8, 8, 9, 9) })];
    const queue = [aJob("j", { perPod: resources(8, 0, 1) })];
    const verdict = await verdictOn({
      snapshot: withVictims(aSnapshot({ nodes, queue }), live),
      live,
    });
    if (verdict?.kind !== "preempt") throw new Error("it evicts nobody");
    expect(verdict.victims.map(({ pastBudget }) => pastBudget)).to.deep.equal(["keep", "keep"]);
  });

  it("accepts a node overcommitted in GPUs that nobody requests", async () => {
    const live = [aLiveJob("l", [{ node: "n0", pods: 1 }], { perPod: resources(0, 16, 1) })];
    const node = aNode("n0", {
      allocatable: resources(1, 16, 12),
      otherUsage: resources(2, 0, 1),
    });
    const queue = [aJob("j", { perPod: resources(0, 8, 1) })];
    const snapshot = withVictims(aSnapshot({ nodes: [node], queue }), live);
    expect(await verdictOn({ snapshot, live })).to.include({ kind: "preempt" });
  });

  it("never misses the node with the fewest pods", () =>
    tryAll(scenarios(1), propertyRuns(1000), async (client, { snapshot, live }) => {
      const [request] = decide(snapshot).requests;
      if (!request || request.rooms) return;
      const usable = snapshot.nodes
        .filter((node) => accepts(node, jobOf({ snapshot, live })))
        .filter(({ name }) => request.nodes?.includes(name) ?? true);
      const bounds = usable.map((node) => boundOn(node, request, live));
      const least = Math.min(...bounds.map(({ fewestPods }) => fewestPods));
      const proposed = await findVictims(client, snapshot.pool, [request], new Map(), TIGHT);
      const ids = new Set(proposed.map(({ id }) => id));
      const best = bounds.filter(({ fewestPods }) => fewestPods === least);
      if (least === Infinity) return;
      expect(best.some(({ jobs }) => jobs.every(({ id }) => ids.has(id)))).to.equal(true);
    }));

  it("looks further when the first nodes miss their bounds", async () => {
    const pod = (gpus: number) => ({ perPod: resources(gpus, 0, 1) });
    const on = (node: string) => ({ node, pods: 1 });
    const live = [
      aLiveJob("gang", [on("n0"), on("n3")], pod(1)),
      aLiveJob("large", [on("n1")], pod(7)),
      aLiveJob("beside", [on("n1")], pod(1)),
      aLiveJob("best", [on("n2")], pod(4)),
    ];
    const nodes = ["n0", "n1", "n2"].map((name) => aNode(name));
    const small = aNode("n3", { allocatable: resources(1, 0, 9) });
    const queue = [aJob("j", pod(8))];
    const snapshot = withVictims(aSnapshot({ nodes: [...nodes, small], queue }), live);
    const verdict = await verdictOn({ snapshot, live }, TIGHT);
    const victims = verdict.kind === "preempt" ? verdict.victims : [];
    expect(victims.map(({ jobId }) => jobId)).to.deep.equal([uuid(2, 3)]);
  });

  it("looks for as many nodes as a gang needs that may not share them", async () => {
    const names = ["n0", "n1", "n2"];
    const live = names.flatMap((node) =>
      Array.from({ length: 2 }, (_, at) =>
        aLiveJob(`${node}-${at}`, [{ node, pods: 1 }], { perPod: resources(1, 0, 1) }),
      ),
    );
    const perPod = resources(1, 0, 1);
    const taken = { perPod: { ...perPod, byName: { [PORT]: 1 } } };
    for (const job of [{ perPod, maxPodsPerNode: 1 }, taken]) {
      const queue = [aJob("j", { ...job, parallelism: 3 })];
      const nodes = names.map((name) => aNode(name, { allocatable: resources(2, 0, 9) }));
      const snapshot = withVictims(aSnapshot({ nodes, queue }), live);
      const verdict = await verdictOn({ snapshot, live }, TIGHT);
      expect(verdict.kind === "preempt" && verdict.victims).to.have.length(3);
    }
  });

  it("does not hide borrowers behind jobs within quota", async () => {
    const pod = (gpus: number) => ({ perPod: resources(gpus, 0, 1) });
    const live = [
      aLiveJob("inside", [{ node: "n0", pods: 1 }], pod(2)),
      aLiveJob("beside", [{ node: "n1", pods: 1 }], pod(1)),
      aLiveJob("borrower", [{ node: "n1", pods: 1 }], { ...pod(1), borrowing: true }),
    ];
    const nodes = ["n0", "n1"].map((name) => aNode(name, { allocatable: resources(3, 0, 9) }));
    const queue = [aJob("j", { ...pod(2), quotas: ["1/GPU"] })];
    const snapshot = withVictims(
      aSnapshot({ nodes, quotas: [aQuota("1/GPU", 0, 0)], queue }),
      live,
    );
    const verdict = await verdictOn({ snapshot, live }, TIGHT);
    const victims = verdict.kind === "preempt" ? verdict.victims : [];
    expect(victims.map(({ jobId }) => jobId)).to.deep.equal([uuid(2, 2)]);
  });

  it("does not hide many borrowers behind one job within quota", async () => {
    const pod = (gpus: number) => ({ perPod: resources(gpus, 0, 1) });
    const borrower = (name: string): LiveJob =>
      aLiveJob(name, [{ node: "n1", pods: 1 }], { ...pod(2), borrowing: true, priority: 99 });
    const live = [
      aLiveJob("inside", [{ node: "n0", pods: 1 }], pod(8)),
      ...["a", "b", "c", "d"].map(borrower),
    ];
    const nodes = ["n0", "n1"].map((name) => aNode(name));
    const snapshot = withVictims(aSnapshot({ nodes, queue: [aJob("j", pod(8))] }), live);
    const verdict = await verdictOn({ snapshot, live }, TIGHT);
    const victims = verdict.kind === "preempt" ? verdict.victims : [];
    expect(victims.map(({ rule }) => rule)).to.deep.equal(Array(4).fill("BorrowerReclaimed"));
  });

  /** `large` frees all that is missing with one pod, on a node that is not among the nearest; those of the others do not. */
  const withLargePodAway = (pod: (amount: number) => Partial<LiveJob>): LiveJob[] => [
    aLiveJob("n0-a", [{ node: "n0", pods: 1 }], pod(4)),
    aLiveJob("n0-b", [{ node: "n0", pods: 1 }], pod(3)),
    aLiveJob("n1-a", [{ node: "n1", pods: 1 }], pod(4)),
    aLiveJob("n1-b", [{ node: "n1", pods: 1 }], pod(3)),
    aLiveJob("large", [{ node: "n2", pods: 1 }], pod(8)),
  ];

  for (const [what, of] of Object.entries({
    GPUs: (amount: number) => resources(amount, 0, 1),
    CPUs: (amount: number) => resources(0, amount, 1),
  })) {
    it(`finds one large pod behind nearer nodes short of ${what}`, async () => {
      const live = withLargePodAway((amount) => ({ perPod: of(amount) }));
      const nodes = ["n0", "n1", "n2"].map((name) =>
        aNode(name, { allocatable: resources(8, 8, 9) }),
      );
      const queue = [aJob("j", { perPod: of(8) })];
      const snapshot = withVictims(aSnapshot({ nodes, queue }), live);
      const verdict = await verdictOn({ snapshot, live }, TIGHT);
      const victims = verdict.kind === "preempt" ? verdict.victims : [];
      expect(victims.map(({ jobId }) => jobId)).to.deep.equal([uuid(2, 4)]);
    });
  }

  it("is planned once for all parameters", async () => {
    const request = (priority: number): VictimRequest => ({
      jobId: uuid(3, 0),
      priority,
      perPod: resources(1, 1, 1),
      parallelism: 1,
      inside: true,
      over: [],
      borrows: false,
      changed: [],
    });
    // Of its own: statements of other tests count in theirs.
    const fresh = createPool(database.url, { maxConnections: 1 });
    const client = await fresh.connect();
    try {
      for (let turn = 0; turn < 8; turn += 1) await findVictims(client, "p0", [request(turn)]);
      const { rows } = await client.query<{ anew: number; once: number }>(
        `SELECT custom_plans::int AS anew, generic_plans::int AS once
         FROM pg_prepared_statements WHERE name = 'find_victims'`,
      );
      // PostgreSQL compares the two by itself, after five.
      expect(rows[0]?.anew).to.equal(5);
      expect(rows[0]?.once).to.be.at.least(3);
    } finally {
      client.release();
      await fresh.end();
    }
  });
});
