/** Accounting against a naive reading: what runs is looked at after every step, and summed second by second of virtual time. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import * as fc from "fast-check";
import type { PoolClient, QueryResultRow } from "pg";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { cancelJob, endJob, markRunning, retryJob } from "../../src/db/jobs/attempts.ts";
import { ensureOwner, type Owner } from "../../src/db/tenants/owners.ts";
import { markEvicted, preempt } from "../../src/db/jobs/preempt.ts";
import { moveSubtree } from "../../src/db/tenants/projects.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import {
  usagePage,
  type Usage,
  type UsageDimension,
  type UsageKey,
  type UsageQuery,
} from "../../src/db/reports/usage.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, rejection, reserve } from "../support/fixtures.ts";
import { allPages } from "../support/paging.ts";
import { propertyRuns } from "../support/property.ts";
import { withVirtualTime, type VirtualTime } from "../support/virtual-time.ts";

const owners: readonly Owner[] = [
  { kind: "Group", name: "vision" },
  { kind: "User", name: "vision" },
  { kind: "Group", name: "speech" },
];
const pools = ["a100", "h100"] as const;

/**
 * Days of change: to summer time in Berlin, midnight skipped in Santiago and repeated in Havana, a day skipped in Apia.
 * PostgreSQL reads CET as an abbreviation without summer time.
 */
const zones = [
  { timeZone: "Europe/Berlin", start: Temporal.Instant.from("2026-03-28T05:00:00Z") },
  { timeZone: "America/Santiago", start: Temporal.Instant.from("2026-09-05T12:00:00Z") },
  { timeZone: "America/Havana", start: Temporal.Instant.from("2026-10-31T12:00:00Z") },
  { timeZone: "Pacific/Apia", start: Temporal.Instant.from("2011-12-29T12:00:00Z") },
  { timeZone: "CET", start: Temporal.Instant.from("2026-07-01T12:00:00Z") },
] as const;

const kinds = [
  "project",
  "move",
  "owner",
  "submit",
  "submit",
  "admit",
  "admit",
  "hold",
  "running",
  "borrow",
  "evict",
  "evicted",
  "end",
  "retry",
  "cancel",
] as const;

interface GangState {
  readonly kind: (typeof kinds)[number];
  readonly minutes: number;
  /** Picks the rows that the step is about. */
  readonly dice: readonly [number, number];
}

const someSteps = fc.array(
  fc.record<GangState>({
    kind: fc.constantFrom(...kinds),
    minutes: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 700 })),
    dice: fc.tuple(fc.nat({ max: 1000 }), fc.nat({ max: 1000 })),
  }),
  { minLength: 15, maxLength: 45, size: "max" },
);

interface LiveJob {
  readonly jobId: string;
  readonly job: string;
  readonly attempt: number;
  readonly line: readonly string[];
  readonly owner: Owner | null;
  readonly pool: string;
  readonly borrowing: boolean;
  readonly gpus: number;
  readonly cpuMillis: number;
}

interface Stretch {
  readonly from: Temporal.Instant;
  readonly to: Temporal.Instant;
  readonly live: readonly LiveJob[];
}

interface ProjectRow {
  readonly id: string;
  readonly name: string;
  readonly parent_id: string | null;
  readonly kind: Owner["kind"] | null;
  readonly owner: string | null;
}

/** From the root down, by parents and not by path. */
function lineOf(id: string, projects: ReadonlyMap<string, ProjectRow>): ProjectRow[] {
  const project = projects.get(id);
  if (!project) return [];
  return [...(project.parent_id === null ? [] : lineOf(project.parent_id, projects)), project];
}

async function whatRuns(client: PoolClient): Promise<LiveJob[]> {
  const projects = await client.query<ProjectRow>(
    "SELECT project.id, project.name, parent_id, owner.kind, owner.name AS owner FROM projects AS project LEFT JOIN owners AS owner ON owner.id = owner_id",
  );
  const byId = new Map(projects.rows.map((row) => [row.id, row]));
  const { rows } = await client.query<Omit<LiveJob, "line" | "owner"> & { project: string }>(
    `SELECT id AS "jobId", namespace || '/' || name AS job, attempt, project_id AS project, pool, borrowing, required_gpu AS gpus,
       cpu_millis AS "cpuMillis"
     FROM jobs WHERE status IN ('starting', 'running', 'evicting')`,
  );
  return rows.map(({ project, ...job }) => {
    const line = lineOf(project, byId);
    const owning = line.findLast(({ owner }) => owner !== null);
    const owner = owning?.kind && owning.owner ? { kind: owning.kind, name: owning.owner } : null;
    return { ...job, line: line.map(({ name }) => name), owner };
  });
}

const pick = <Item>(items: readonly Item[], dice: number): Item | undefined =>
  items[dice % Math.max(1, items.length)];

/** Plays the steps in one transaction, in virtual time; steps that find nothing to do do nothing. */
class Story {
  readonly stretches: Stretch[] = [];
  readonly #client: PoolClient;
  readonly #projects: string[] = [];
  #now: Temporal.Instant;

  constructor(client: PoolClient, start: Temporal.Instant) {
    this.#client = client;
    this.#now = start;
  }

  get now(): Temporal.Instant {
    return this.#now;
  }

  get projects(): readonly string[] {
    return this.#projects;
  }

  async play(steps: readonly GangState[]): Promise<void> {
    await this.#setNow();
    for (const pool of pools) await addNode(this.#client, `node-${pool}`, 1000, pool);
    await this.#addProject([0, 0]);
    for (const gang of steps) {
      await this.#pass(gang.minutes);
      await this.#do(gang);
    }
    await this.#pass(90);
  }

  async #setNow(): Promise<void> {
    await this.#client.query("UPDATE virtual_time.clock SET instant = $1", [this.#now.toString()]);
  }

  async #pass(minutes: number): Promise<void> {
    const from = this.#now;
    this.#now = from.add({ minutes });
    this.stretches.push({ from, to: this.#now, live: await whatRuns(this.#client) });
    await this.#setNow();
  }

  async #jobs(
    statuses: readonly string[],
  ): Promise<{ id: string; attempt: number; pool: string }[]> {
    const { rows } = await this.#client.query<{ id: string; attempt: number; pool: string }>(
      "SELECT id, attempt, pool FROM jobs WHERE status = ANY ($1::job_status[]) ORDER BY name",
      [statuses],
    );
    return rows;
  }

  async #addProject([parent, owner]: GangState["dice"]): Promise<void> {
    const name = `p-${this.#projects.length}`;
    const above = pick([undefined, ...this.#projects], parent);
    await this.#client.query(
      `INSERT INTO projects (id, name, namespace, parent_id) VALUES ($1, $2, $2, (SELECT id FROM projects WHERE name = $3))`,
      [randomUUID(), name, above ?? null],
    );
    this.#projects.push(name);
    if (owner % 2 === 0) await this.#setOwner(name, owner);
  }

  async #setOwner(name: string | undefined, dice: number): Promise<void> {
    const owner = pick([undefined, ...owners], dice);
    const id = owner ? await ensureOwner(this.#client, owner.kind, owner.name) : null;
    await this.#client.query("UPDATE projects SET owner_id = $2 WHERE name = $1", [name, id]);
  }

  async #move(name: string | undefined, parent: string | undefined): Promise<void> {
    const { rows } = await this.#client.query<{ id: string; cycle: boolean }>(
      `SELECT id, coalesce((SELECT path FROM projects WHERE name = $2) <@ path, false) AS cycle
       FROM projects WHERE name = $1`,
      [name, parent],
    );
    const [project] = rows;
    if (project && !project.cycle) await moveSubtree(this.#client, project.id, parent);
  }

  async #submit([project, signature]: GangState["dice"]): Promise<void> {
    const { rows } = await this.#client.query<{ id: string }>(
      "SELECT id FROM projects WHERE name = $1",
      [pick(this.#projects, project)],
    );
    const [row] = rows;
    if (!row) return;
    await addJob(this.#client, row.id, {
      pool: pick(pools, signature) ?? "a100",
      parallelism: 1 + (signature % 3),
      perPod: { gpus: signature % 4, cpuMillis: 500 + 250 * (signature % 5), memoryBytes: 0 },
    });
  }

  async #do({ kind, dice }: GangState): Promise<void> {
    const client = this.#client;
    const [first, second] = dice;
    if (kind === "project") return this.#addProject(dice);
    if (kind === "owner") return this.#setOwner(pick(this.#projects, first), second);
    if (kind === "submit") return this.#submit(dice);
    if (kind === "move")
      return this.#move(pick(this.#projects, first), pick([undefined, ...this.#projects], second));
    const job = pick(await this.#jobs(statusesFor[kind] ?? []), first);
    if (!job) return;
    const said = { reason: "Test", message: "as the test wants it" };
    const { rows } = await client.query<{ parallelism: number }>(
      "SELECT parallelism FROM jobs WHERE id = $1",
      [job.id],
    );
    const placements = [{ node: `node-${job.pool}`, pods: rows[0]?.parallelism ?? 1 }];
    const placed = { ...job, borrowing: second % 2 === 0, placements };
    if (kind === "admit") await admitJobs(client, [placed]);
    if (kind === "hold") await reserve(client, placed);
    if (kind === "running") await markRunning(client, job);
    if (kind === "borrow")
      await client.query("UPDATE jobs SET borrowing = NOT borrowing WHERE id = $1", [job.id]);
    if (kind === "evict") {
      const victims = [{ ...job, rule: "WindowClosed" as const }];
      const entry = { id: randomUUID(), pool: job.pool, rule: "WindowClosed" as const, victims };
      await preempt(client, { ...entry, reason: "test", alternatives: [] });
    }
    if (kind === "evicted") await markEvicted(client, job);
    if (kind === "end") await endJob(client, { ...job, ...said, outcome: "succeeded" });
    if (kind === "retry")
      await retryJob(client, { ...job, ...said, countsAsFailure: false, notBeforeSeconds: 0 });
    if (kind === "cancel") await cancelJob(client, { id: job.id, ...said });
  }
}

const statusesFor: Readonly<Record<string, readonly string[]>> = {
  admit: ["pending", "evicted"],
  reservation: ["pending", "evicted"],
  running: ["starting"],
  borrow: ["starting", "running"],
  evict: ["starting", "running"],
  evicted: ["evicting"],
  end: ["starting", "running", "evicting"],
  retry: ["starting", "running", "evicting"],
  cancel: ["pending", "reserved", "running", "evicting"],
};

const seconds = (from: Temporal.Instant, to: Temporal.Instant): number =>
  (to.epochMilliseconds - from.epochMilliseconds) / 1000;
const later = (a: Temporal.Instant, b: Temporal.Instant) =>
  Temporal.Instant.compare(a, b) > 0 ? a : b;
const earlier = (a: Temporal.Instant, b: Temporal.Instant) =>
  Temporal.Instant.compare(a, b) < 0 ? a : b;

/** Cut at every midnight of the zone. */
function* byDay(from: Temporal.Instant, to: Temporal.Instant, timeZone: string) {
  let since = from;
  while (Temporal.Instant.compare(since, to) < 0) {
    const date = since.toZonedDateTimeISO(timeZone).toPlainDate();
    const next = date.add({ days: 1 }).toZonedDateTime(timeZone).toInstant();
    const until = earlier(next, to);
    yield { day: date.toString(), lasting: seconds(since, until) };
    since = until;
  }
}

interface Key {
  readonly project: string;
  readonly subtree: string;
  readonly owner: Owner | null;
  readonly pool: string;
  readonly day: string;
  readonly attempt: NonNullable<Usage["attempt"]>;
}

const named = (key: Partial<Key>): string => JSON.stringify(key);

const isAsked = (job: LiveJob, { within, pool, owner }: UsageQuery): boolean =>
  (within === undefined || job.line.includes(within)) &&
  (pool === undefined || pool === job.pool) &&
  (owner === undefined || named({ owner }) === named({ owner: job.owner }));

/** The keys that a job's use on a day counts under. */
function keysOf(job: LiveJob, day: string, { by, within }: UsageQuery): string[] {
  const { jobId, job: name, attempt, owner, pool } = job;
  const top = within === undefined ? 0 : job.line.indexOf(within);
  const subtrees = by.includes("subtree") ? job.line.slice(top) : [""];
  return subtrees.map((subtree) => {
    const project = job.line.at(-1) ?? "";
    const all: Key = { project, subtree, owner, pool, day, attempt: { jobId, job: name, attempt } };
    return named(Object.fromEntries(by.map((one) => [one, all[one]])));
  });
}

function amounts({ gpus, cpuMillis, borrowing }: LiveJob, lasting: number): number[] {
  const outside = borrowing ? 1 : 0;
  const cpus = cpuMillis / 1000;
  return [gpus, gpus * outside, cpus, cpus * outside].map((amount) => amount * lasting);
}

interface Sum {
  readonly attempts: Set<string>;
  amounts: number[];
}

/** The sums that `usagePage` must return, by key. */
function naiveUsage(stretches: readonly Stretch[], query: UsageQuery): Map<string, number[]> {
  const sums = new Map<string, Sum>();
  const add = (key: string, job: LiveJob, more: readonly number[]): void => {
    const sum = sums.get(key) ?? { attempts: new Set(), amounts: [0, 0, 0, 0] };
    sum.attempts.add(`${job.jobId}/${job.attempt}`);
    sum.amounts = sum.amounts.map((amount, index) => amount + (more[index] ?? 0));
    sums.set(key, sum);
  };
  for (const stretch of stretches) {
    const from = later(stretch.from, query.from);
    const to = earlier(stretch.to, query.to);
    const asked = stretch.live.filter((job) => isAsked(job, query));
    for (const { day, lasting } of byDay(from, to, query.timeZone)) {
      for (const job of asked)
        keysOf(job, day, query).forEach((key) => add(key, job, amounts(job, lasting)));
    }
  }
  return new Map([...sums].map(([key, sum]) => [key, [sum.attempts.size, ...sum.amounts]]));
}

function told(rows: readonly Usage[], by: readonly UsageDimension[]): Map<string, number[]> {
  return new Map(
    rows.map((row) => [
      named(
        Object.fromEntries(
          by.map((one) => {
            if (one !== "attempt" || !row.attempt) return [one, row[one]];
            const { jobId, job, attempt } = row.attempt;
            return [one, { jobId, job, attempt }];
          }),
        ),
      ),
      [
        row.attempts,
        row.gpuSeconds,
        row.borrowedGpuSeconds,
        row.cpuSeconds,
        row.borrowedCpuSeconds,
      ],
    ]),
  );
}

const groupings: readonly (readonly UsageDimension[])[] = [
  [],
  ["project"],
  ["subtree"],
  ["owner"],
  ["pool"],
  ["day"],
  ["attempt"],
  ["subtree", "day"],
  ["owner", "pool", "day"],
  ["project", "attempt", "day"],
];

describe("accounting against a naive sum", () => {
  let database: TestDatabase;
  let time: VirtualTime;

  before(async () => {
    database = await createTestDatabase();
    time = await withVirtualTime(database);
  });
  after(async () => {
    await time.close();
    await database.drop();
  });

  async function inTransaction(work: (client: PoolClient) => Promise<void>): Promise<void> {
    const client = await time.pool.connect();
    try {
      await client.query("BEGIN");
      await work(client);
    } finally {
      await client.query("ROLLBACK");
      client.release();
    }
  }

  const clips = fc.tuple(fc.integer({ min: -600, max: 4000 }), fc.integer({ min: 1, max: 20_000 }));

  it("is equal by every key, range and filter", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...zones), someSteps, clips, (zone, steps, clip) =>
        inTransaction(async (client) => {
          const story = new Story(client, zone.start);
          await story.play(steps);
          const from = zone.start.add({ minutes: clip[0] });
          const range = { from, to: from.add({ minutes: clip[1] }), timeZone: zone.timeZone };
          const [project] = story.projects.slice(-1);
          const filters = [{}, { within: project }, { owner: owners[0] }, { pool: pools[0] }];
          for (const [index, by] of groupings.entries()) {
            const query = { ...range, by, ...filters[(clip[1] + index) % filters.length] };
            // All groupings in short pages would take long.
            const limit = index === clip[1] % groupings.length ? 2 : 1000;
            const rows = await allPages<Usage, UsageKey>(
              (request) => usagePage(client, { ...query, ...request }),
              limit,
            );
            const answer = told(rows, by);
            const expected = naiveUsage(story.stretches, query);
            expect(rows).to.have.lengthOf(expected.size);
            expect([...answer.keys()].sort()).to.deep.equal([...expected.keys()].sort());
            for (const [key, sums] of expected) {
              for (const [place, sum] of sums.entries())
                expect(answer.get(key)?.[place]).to.be.closeTo(sum, 0.01);
            }
          }
        }),
      ),
      propertyRuns(100),
    );
  });

  it("is one statement, however many projects and keys", async () => {
    await inTransaction(async (client) => {
      let statements = 0;
      const counting: Queryable = {
        query: <Row extends QueryResultRow>(text: string, values?: readonly unknown[]) => {
          statements += 1;
          return client.query<Row>(text, [...(values ?? [])]);
        },
      };
      const from = zones[0].start;
      for (const by of groupings)
        await usagePage(counting, {
          from,
          to: from.add({ hours: 48 }),
          timeZone: "UTC",
          by,
          limit: 100,
        });
      expect(statements).to.equal(groupings.length);
    });
  });
});

describe("accounting", () => {
  let database: TestDatabase;

  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  const range = {
    from: Temporal.Instant.from("2026-01-01T00:00:00Z"),
    to: Temporal.Instant.from("2036-01-01T00:00:00Z"),
    timeZone: "UTC",
  };

  it("refuses empty or long ranges, and unknown names", async () => {
    const empty = { ...range, to: range.from, by: [] };
    const long = { ...range, to: range.to.add({ hours: 24 * 365 }), by: [] };
    const odd = { ...range, by: [], within: "a.*|b" };
    for (const query of [empty, long, odd]) {
      expect(await rejection(usagePage(database.pool, { ...query, limit: 1 }))).to.have.property(
        "code",
        "InvalidValue",
      );
    }
  });

  it("uses the indexes on paths and times", async () => {
    const { pool } = database;
    const root = await addProject(pool, "root");
    await pool.query(
      `INSERT INTO projects (id, name, namespace, parent_id)
       SELECT gen_random_uuid(), 'child-' || number, 'child-' || number, $1 FROM generate_series(1, 3000) AS number`,
      [root],
    );
    await pool.query(
      `INSERT INTO job_events (
         job_id, at, to_status, attempt, borrowing, pool, gpus, cpu_millis, memory_bytes, project_id, namespace, name
       )
       SELECT gen_random_uuid(), timestamptz '2026-01-01' + number * interval '1 minute', 'running', 1, false, 'default',
         1, 1, 1, $1, 'n', 'n'
       FROM generate_series(1, 40000) AS number`,
      [root],
    );
    await pool.query("ANALYZE");
    const plans: string[] = [];
    const explaining = {
      query: async (text: string, values?: readonly unknown[]) => {
        const { rows } = await pool.query({
          text: `EXPLAIN ${text}`,
          values: [...(values ?? [])],
        });
        plans.push(rows.map((row) => String(row["QUERY PLAN"])).join("\n"));
        return { rows: [], rowCount: 0, command: "", oid: 0, fields: [] };
      },
    };
    const lately = { ...range, from: Temporal.Instant.from("2026-01-28T00:00:00Z") };
    await usagePage(explaining, { ...lately, by: ["subtree"], within: "child-7", limit: 100 });
    expect(plans[0]).to.contain("project_periods_path_idx").and.to.contain("job_events_at_idx");
    expect(plans[0]).to.contain("job_events_pkey").and.not.to.contain("Seq Scan on job_events");
  });
});
