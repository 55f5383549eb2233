/** Which jobs borrow, as PostgreSQL marks them, against a naive reading of docs/design.md, "Quota", on random trees. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import { replacePlan } from "../../src/db/tenants/plans.ts";
import { markRunning } from "../../src/db/jobs/attempts.ts";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { adoptJob, insertJob } from "../../src/db/jobs/queue.ts";
import { readClaimedJobs } from "../../src/db/scheduling/queue.ts";
import { refreshBorrowing } from "../../src/db/scheduling/entitlement.ts";
import type { ResourceType } from "../../src/domain/resource-types.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addNode, addProject, newJob, reserve } from "../support/fixtures.ts";
import { propertyRuns } from "../support/property.ts";

/** Project, its parent, and its owner; the same owner may stand twice on a way to the root. */
const tree = [
  { name: "company", parent: undefined, owner: "board" },
  { name: "research", parent: "company", owner: undefined },
  { name: "vision", parent: "research", owner: "ann" },
  { name: "speech", parent: "research", owner: "bob" },
  { name: "lab", parent: "vision", owner: "board" },
  { name: "outside", parent: undefined, owner: undefined },
] as const;
const owners = ["board", "ann", "bob"] as const;
type ProjectName = (typeof tree)[number]["name"];

function ownersAbove(name: ProjectName): Set<string> {
  const found = new Set<string>();
  for (let at = tree.find((one) => one.name === name); at; at = parentOf(at)) {
    if (at.owner !== undefined) found.add(at.owner);
  }
  return found;
}
const parentOf = ({ parent }: (typeof tree)[number]) => tree.find(({ name }) => name === parent);

interface Plan {
  readonly owner: string;
  readonly resourceType: ResourceType;
  readonly quantity: number;
  /** Whether its window is open at the second that the test asks about. */
  readonly open: boolean;
}

interface Drawn {
  readonly project: ProjectName;
  readonly status: "reserved" | "starting" | "running" | "evicting" | "pending";
  readonly priority: number;
  readonly parallelism: number;
  readonly gpus: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** By name. */
  readonly devices: Readonly<Record<string, number>>;
  readonly admittedAtSeconds: number;
}

interface Placed extends Drawn {
  readonly id: string;
}

const gibibyte = 2 ** 30;
const fpga = "example.com/fpga";
/** GPUs of another vendor. */
const otherGpu = "amd.com/gpu";
/** Not metered, as its setting says, unless a plan names it. */
const nic = "rdma/hca";
const types: readonly ResourceType[] = ["GPU", "CPU", "memory", fpga, nic];

const plans = fc.uniqueArray(
  fc.record({
    owner: fc.constantFrom(...owners),
    resourceType: fc.constantFrom("GPU", "GPU", "CPU", "memory", fpga, nic),
    quantity: fc.nat({ max: 10 }),
    open: fc.integer({ min: 0, max: 4 }).map((dice) => dice > 0),
  }),
  { selector: ({ owner, resourceType }) => `${owner}/${resourceType}`, maxLength: 6, size: "max" },
);

const jobs = fc.array(
  fc.record({
    project: fc.constantFrom(...tree.map(({ name }) => name)),
    status: fc.constantFrom("reserved", "starting", "running", "running", "evicting", "pending"),
    priority: fc.nat({ max: 2 }),
    parallelism: fc.integer({ min: 1, max: 3 }),
    gpus: fc.nat({ max: 3 }),
    cpuMillis: fc.oneof(fc.constant(0), fc.nat({ max: 2500 })),
    memoryBytes: fc.oneof(fc.constant(0), fc.nat({ max: 3 * gibibyte })),
    devices: fc
      .record({
        [fpga]: fc.constantFrom(0, 0, 1, 2),
        [nic]: fc.constantFrom(0, 0, 1),
        [otherGpu]: fc.constantFrom(0, 0, 0, 1, 2),
      })
      .map((all) => Object.fromEntries(Object.entries(all).filter(([, amount]) => amount > 0))),
    admittedAtSeconds: fc.nat({ max: 4 }),
  }),
  { minLength: 1, maxLength: 14, size: "max" },
);

const counts = ({ status }: Drawn): boolean =>
  status === "reserved" || status === "starting" || status === "running";

function ranksBefore(one: Placed, other: Placed): boolean {
  if (one.priority !== other.priority) return one.priority > other.priority;
  if (one.admittedAtSeconds !== other.admittedAtSeconds)
    return one.admittedAtSeconds < other.admittedAtSeconds;
  return one.id < other.id;
}

/** In GPUs, cores, GiB or devices. */
function amountOf({ parallelism, ...job }: Drawn, type: ResourceType): number {
  if (type === "GPU") return parallelism * (job.gpus + (job.devices[otherGpu] ?? 0));
  if (type === "CPU") return (parallelism * job.cpuMillis) / 1000;
  if (type === "memory") return (parallelism * job.memoryBytes) / gibibyte;
  return parallelism * (job.devices[type] ?? 0);
}

/** GPUs and devices are, and whatever a plan of the pool names. */
const isMetered = (type: ResourceType, granted: readonly Plan[]): boolean =>
  type === "GPU" || type === fpga || granted.some(({ resourceType }) => resourceType === type);

/** Asked anew for each job, without any sharing between answers. */
function isBorrowing(job: Placed, all: readonly Placed[], granted: readonly Plan[]): boolean {
  const above = ownersAbove(job.project);
  const inside = all.filter(
    (other) => counts(other) && ranksBefore(other, job) && !isBorrowing(other, all, granted),
  );
  const asked = types.filter((type) => amountOf(job, type) > 0);
  const quotasFor = (type: ResourceType) =>
    granted.filter((one) => one.resourceType === type && above.has(one.owner));
  if (asked.every((type) => quotasFor(type).length === 0)) return true;
  return asked.some((type) => {
    const quotas = quotasFor(type);
    if (quotas.length === 0) return isMetered(type, granted);
    return quotas.some(({ owner, quantity, open }) => {
      const used = inside
        .filter((other) => ownersAbove(other.project).has(owner))
        .reduce((sum, other) => sum + amountOf(other, type), 0);
      return used + amountOf(job, type) > (open ? quantity : 0) + 1e-9;
    });
  });
}

describe("borrowing marks", function () {
  this.timeout(300_000);
  let database: TestDatabase;
  const projects = new Map<string, string>();
  let poolCount = 0;

  before(async () => {
    database = await createTestDatabase();
    for (const { name, parent, owner } of tree) {
      const id = await addProject(database.pool, name, {
        ...(parent === undefined ? {} : { parent }),
        ...(owner === undefined ? {} : { owner: { kind: "User", name: owner } }),
      });
      projects.set(name, id);
    }
  });

  after(() => database.drop());

  /** A pool of its own for each case, with a node that has room for everything. */
  async function newPool(): Promise<string> {
    const name = `pool-${(poolCount += 1)}`;
    const byName = { [fpga]: 1000, [nic]: 1000, [otherGpu]: 1000 };
    const allocatable = { gpus: 1000, cpuMillis: 1e6, memoryBytes: 2 ** 40, pods: 1000, byName };
    await addNode(database.pool, name, 1000, name, { allocatable });
    return name;
  }

  async function grant(pool: string, { owner, resourceType, quantity, open }: Plan): Promise<void> {
    const day = open ? "Mon" : "Tue";
    await replacePlan(database.pool, {
      uid: randomUUID(),
      name: `${pool}-${owner}-${resourceType.replaceAll("/", "-")}`.toLowerCase(),
      owner: { kind: "User", name: owner },
      resourceType,
      pool,
      quantity,
      windows: [{ days: [day], start: "00:00", end: "24:00" }],
      onWindowClose: "Finish",
      generation: 1,
    });
  }

  const setAdmission = (id: string, seconds: number) =>
    database.pool.query(
      "UPDATE jobs SET admitted_at = 'epoch'::timestamptz + make_interval(secs => $2) WHERE id = $1",
      [id, seconds],
    );

  async function place(pool: string, drawn: Drawn): Promise<Placed> {
    const { project, status, priority, parallelism, gpus, cpuMillis, admittedAtSeconds } = drawn;
    const { memoryBytes, devices: byName } = drawn;
    const perPod = { gpus, cpuMillis, memoryBytes, byName };
    const gpuResources = [otherGpu];
    const job = newJob(projects.get(project) ?? "", {
      pool,
      priority,
      parallelism,
      perPod,
      gpuResources,
      allowsBorrowing: false,
    });
    const placements = [{ node: pool, pods: parallelism }];
    const fence = { id: job.id, attempt: 0 };
    if (status === "reserved" || status === "pending") {
      await insertJob(database.pool, job);
      if (status === "reserved") {
        await reserve(database.pool, { ...fence, borrowing: false, placements });
        await setAdmission(job.id, admittedAtSeconds);
      }
    } else {
      const entitlement = { status, attempt: 1, failures: 0, placements };
      await adoptJob(database.pool, job, entitlement);
      await setAdmission(job.id, admittedAtSeconds);
    }
    return { ...drawn, id: job.id };
  }

  async function marks(pool: string): Promise<Map<string, boolean>> {
    const { rows } = await database.pool.query<{ id: string; borrowing: boolean }>(
      "SELECT id, borrowing FROM jobs WHERE pool = $1",
      [pool],
    );
    return new Map(rows.map(({ id, borrowing }) => [id, borrowing]));
  }

  const refresh = async (pool: string) =>
    (await refreshBorrowing(database.pool, pool, 3600, ["rdma/%"])).changedKeys;

  it("equal a naive reading, at once and later", async () => {
    await fc.assert(
      fc.asyncProperty(plans, jobs, async (granted, drawn) => {
        const pool = await newPool();
        for (const one of granted) await grant(pool, one);
        const placed: Placed[] = [];
        for (const one of drawn) placed.push(await place(pool, one));
        await refresh(pool);
        const marked = await marks(pool);
        for (const job of placed.filter(counts)) {
          const expected = isBorrowing(job, placed, granted);
          expect(marked.get(job.id), JSON.stringify(job)).to.equal(expected);
        }
        expect(await refresh(pool), "a second look changes nothing").to.deep.equal([]);
      }),
      propertyRuns(300),
    );
  });

  it("agree with what waiting jobs are told", async () => {
    await fc.assert(
      fc.asyncProperty(plans, jobs, async (granted, drawn) => {
        const pool = await newPool();
        for (const one of granted) await grant(pool, one);
        const ids = new Map<string, Drawn>();
        for (const one of drawn) {
          const { id } = await place(pool, { ...one, status: "pending" });
          ids.set(id, one);
        }
        const standing = { pool, unmetered: ["rdma/%"] };
        for (const { job } of await readClaimedJobs(database.pool, standing, [...ids.keys()])) {
          const asked = ids.get(job.id);
          if (asked === undefined) throw new Error("another job was read");
          const above = ownersAbove(asked.project);
          const requested = types.filter((type) => amountOf(asked, type) > 0);
          const isGranted = (type: ResourceType): boolean =>
            granted.some((one) => one.resourceType === type && above.has(one.owner));
          const metered = requested.filter((type) => isMetered(type, granted));
          const lacking = metered.filter((type) => !isGranted(type));
          const what = JSON.stringify(asked);
          expect(new Set(job.ungranted), what).to.deep.equal(new Set(lacking));
          expect(job.unplanned, what).to.equal(
            lacking.length > 0 || !requested.some((type) => isGranted(type)),
          );
          expect(job.allowsBorrowing, what).to.equal(metered.length === 0);
        }
      }),
      propertyRuns(150),
    );
  });

  it("keep the order of admission while pods start", async () => {
    const pool = await newPool();
    await grant(pool, { owner: "ann", resourceType: "GPU", quantity: 4, open: true });
    const perPod = { gpus: 4, cpuMillis: 0, memoryBytes: 1 };
    const project = projects.get("vision") ?? "";
    const [slow, fast] = [newJob(project, { pool, perPod }), newJob(project, { pool, perPod })];
    for (const job of [slow, fast]) await insertJob(database.pool, job);
    const placements = [{ node: pool, pods: 1 }];
    await admitJobs(database.pool, [
      { id: slow.id, attempt: 0, borrowing: false, placements },
      { id: fast.id, attempt: 0, borrowing: true, placements },
    ]);
    expect(await refresh(pool)).to.deep.equal([]);

    await markRunning(database.pool, { id: fast.id, attempt: 1 });
    await markRunning(database.pool, { id: slow.id, attempt: 1 });

    expect(await refresh(pool)).to.deep.equal([]);
    expect(Object.fromEntries(await marks(pool))).to.deep.equal({
      [slow.id]: false,
      [fast.id]: true,
    });
  });
});
