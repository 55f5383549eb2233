/** How many statements operations take, and which indexes the hot ones use. */
import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { endJobs, forgetJobs } from "../../src/db/jobs/attempts.ts";
import { readProjectViews } from "../../src/db/tenants/project-views.ts";
import {
  ancestors,
  blockersOfDeletion,
  descendants,
  roleOf,
  settingsInEffect,
} from "../../src/db/tenants/project-tree.ts";
import { moveSubtree } from "../../src/db/tenants/projects.ts";
import { activeJobKeys, readActiveJobsNamed, readJobView } from "../../src/db/jobs/read.ts";
import { fetchNextJobs, type ClaimedJob } from "../../src/db/jobs/queue.ts";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import { readPools } from "../../src/db/scheduling/lock.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { addJob, addNode, addProject, monday } from "../support/fixtures.ts";

/** Lets statements through and counts them. */
function counting(db: Queryable): { readonly db: Queryable; count(): number } {
  let statements = 0;
  return {
    db: {
      query: (text, values) => {
        statements += 1;
        return db.query(text, values);
      },
    },
    count: () => statements,
  };
}

const claim = { pool: "default", limit: 100, now: monday.add({ hours: 24 }) };

/** Spreads the jobs over the nodes. */
const admit = (db: Queryable, jobs: readonly ClaimedJob[]) =>
  admitJobs(
    db,
    jobs.map(({ id, attempt }, index) => ({
      id,
      attempt,
      borrowing: false,
      placements: [{ node: `n${(index % 500) + 1}`, pods: 1 }],
    })),
  );

/** The plan of every statement that an operation sends, run with its own parameters. */
async function plansOf(
  pool: DatabasePool,
  operation: (db: Queryable) => Promise<unknown>,
): Promise<string> {
  const client = await pool.connect();
  const plans: string[] = [];
  await client.query("BEGIN");
  await operation({
    query: async (text, values) => {
      const plan = await client.query(`EXPLAIN (COSTS OFF) ${text}`, values as unknown[]);
      plans.push(plan.rows.map((row) => row["QUERY PLAN"]).join("\n"));
      return client.query(text, values as unknown[]);
    },
  });
  await client.query("ROLLBACK");
  client.release();
  return plans.join("\n");
}

describe("authorisation", () => {
  let database: TestDatabase;
  const pool = () => database.pool;

  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  /** A line of `depth` projects, the last with `width` children. Returns first, last, and another root. */
  async function growTree(prefix: string, depth: number, width: number) {
    await addProject(pool(), `${prefix}-other`);
    const ids = Array.from({ length: depth }, () => randomUUID());
    for (const [index, id] of ids.entries()) {
      const parent = index === 0 ? undefined : `${prefix}-${index - 1}`;
      await addProject(pool(), `${prefix}-${index}`, { id, parent });
    }
    const last = ids.at(-1) ?? "";
    await pool().query(
      `INSERT INTO projects (id, name, namespace, parent_id)
       SELECT gen_random_uuid(), $2 || '-w' || place, $2 || '-w' || place, $1 FROM generate_series(1, $3::int) AS place`,
      [last, prefix, width],
    );
    return { first: ids[0] ?? "", last, other: `${prefix}-other` };
  }

  async function statementsOf(
    prefix: string,
    depth: number,
    width: number,
  ): Promise<Record<string, number>> {
    const { first, last, other } = await growTree(prefix, depth, width);
    const operations: Record<string, (db: Queryable) => Promise<unknown>> = {
      ancestors: (db) => ancestors(db, last),
      descendants: (db) => descendants(db, first),
      roleOf: (db) => roleOf(db, last, { user: "u", groups: ["g"] }),
      settingsInEffect: (db) => settingsInEffect(db, last),
      readProjectViews: (db) =>
        readProjectViews(db, [first, last], { instant: monday, timeZone: "UTC" }),
      blockersOfDeletion: (db) => blockersOfDeletion(db, first),
      moveSubtree: (db) => moveSubtree(db, first, other),
    };
    const counts: Record<string, number> = {};
    for (const [name, operation] of Object.entries(operations)) {
      const counter = counting(pool());
      await operation(counter.db);
      counts[name] = counter.count();
    }
    return counts;
  }

  it("asks once for a tree of any size", async () => {
    const small = await statementsOf("small", 3, 10);
    const large = await statementsOf("large", 30, 10_000);
    expect(large).to.deep.equal(small);
    expect(new Set(Object.values(small))).to.deep.equal(new Set([1]));
  });

  describe("the queries' plans", () => {
    before(async () => {
      await pool().query(`
        INSERT INTO nodes (name, uid, pool, schedulable, gpus_allocatable, cpu_millis_allocatable, memory_bytes_allocatable, pods_allocatable)
        SELECT 'n' || n, gen_random_uuid(), 'default', true, 8, 64000, 1e12, 110 FROM generate_series(1, 500) AS n
      `);
      await pool().query(
        `INSERT INTO jobs (id, project_id, namespace, name, pool, priority, priority_class, parallelism,
          pod_gpus, pod_cpu_millis, pod_memory_bytes, created_at, allows_borrowing, preempts, backoff_limit)
         SELECT gen_random_uuid(), project.id, 'ns', 'j' || n, 'default', n % 10, 'c', 1, 1, 100, 100,
          $1::timestamptz + n * interval '1 second', true, false, 0
         FROM generate_series(1, 20000) AS n
         JOIN (SELECT id, row_number() OVER (ORDER BY name) AS place FROM projects) AS project ON project.place = n % 100 + 1`,
        [monday.toString()],
      );
      await pool().query(`
        INSERT INTO resource_plans (plan_uid, plan_name, resource_owner_id, resource_type, pool, quantity, time_window, generation)
        SELECT gen_random_uuid(), 'p' || n, ensure_owner('Group', 'g' || n % 2000), 'GPU', 'default', 4,
          int4range(n / 2000 * 3600, n / 2000 * 3600 + 3600), 1
        FROM generate_series(0, 19999) AS n
      `);
      await admit(pool(), await fetchNextJobs(pool(), { ...claim, limit: 3000 }));
      await pool().query("VACUUM ANALYZE");
    });

    it("claims by the queue's index, without sorting", async () => {
      const plan = await plansOf(pool(), (db) => fetchNextJobs(db, claim));
      expect(plan).to.include("jobs_queue_idx").and.not.include("Sort").and.not.include("Seq Scan");
    });

    it("claims by the index on project and signature", async () => {
      const plan = await plansOf(pool(), (db) => fetchNextJobs(db, { ...claim, perSignature: 8 }));
      expect(plan).to.include("jobs_queue_by_signature_idx").and.not.include("Seq Scan");
    });

    const admitAndEnd = async (db: Queryable): Promise<void> => {
      const started = await admit(db, await fetchNextJobs(db, claim));
      await endJobs(
        db,
        started.map(({ id, attempt }) => ({
          id,
          attempt,
          outcome: "succeeded",
          reason: "r",
          message: "",
        })),
      );
    };

    it("admits and ends by primary keys", async () => {
      const plan = await plansOf(pool(), admitAndEnd);
      expect(plan)
        .to.include("jobs_pkey")
        .and.not.include("jobs_occupying_idx")
        .and.not.include("Seq Scan on jobs");
    });

    it("uses primary keys in a session begun on empty tables", async () => {
      const young = await createTestDatabase();
      await addNode(young.pool, "n1", 8);
      const first = await addJob(young.pool, await addProject(young.pool, "first"));
      const client = await young.pool.connect();
      await admitAndEnd(client);
      expect((await readJobView(client, first))?.status).to.equal("succeeded");
      // Rows that neither ANALYZE nor autovacuum tells the planner of.
      await client.query(`
        ALTER TABLE jobs SET (autovacuum_enabled = false);
        ALTER TABLE allocations SET (autovacuum_enabled = false);
        SET session_replication_role = replica;
        INSERT INTO jobs (id, project_id, namespace, name, pool, priority, priority_class, status, attempt, parallelism,
          pod_gpus, pod_cpu_millis, pod_memory_bytes, created_at, allows_borrowing, preempts, backoff_limit)
        SELECT gen_random_uuid(), project_id, 'ns', 'j' || n, 'other', 0, 'c', 'running', 1, 1, 0, 0, 0, now(), true, false, 0
        FROM jobs, generate_series(1, 5000) AS n;
        INSERT INTO allocations SELECT id, 1, 'n1', 1, 0, 0, 0, pool, 1, priority, borrowing, admitted_at, true
        FROM jobs WHERE status = 'running';
        SET session_replication_role = origin;
      `);
      await addJob(client, await addProject(young.pool, "second"), { queuedAt: monday });
      const sequentialScans = async (): Promise<Record<string, number>[]> => {
        const { rows } = await client.query(`
          SELECT relname, seq_scan::int AS scans FROM pg_stat_xact_user_tables
          WHERE relname IN ('jobs', 'allocations', 'nodes') ORDER BY relname
        `);
        return rows;
      };
      await client.query("BEGIN");
      const before = await sequentialScans();
      await admitAndEnd(client);
      const after = await sequentialScans();
      await client.query("COMMIT");
      client.release();
      await young.drop();
      expect(after).to.deep.equal(before);
    });

    it("prepares the hot statements once in each connection", async () => {
      const client = await pool().connect();
      await client.query("BEGIN");
      await admitAndEnd(client);
      await admitAndEnd(client);
      const { rows } = await client.query<{ name: string }>(
        "SELECT name FROM pg_prepared_statements ORDER BY name",
      );
      await client.query("ROLLBACK");
      client.release();
      expect(rows.map(({ name }) => name)).to.include.members([
        "admit_jobs",
        "claim_jobs",
        "end_jobs",
      ]);
    });

    it("finds a job by its id, and by its name", async () => {
      const { rows } = await pool().query(
        "SELECT job.id, job.name, project.namespace FROM jobs AS job JOIN projects AS project ON project.id = project_id LIMIT 1",
      );
      const [{ id, name, namespace }] = rows;
      const plan = await plansOf(pool(), (db) => readJobView(db, id));
      expect(plan).to.include("jobs_pkey").and.include("allocations_pkey");
      const named = await plansOf(pool(), (db) => readActiveJobsNamed(db, namespace, name));
      expect(named).to.include("jobs_active_project_idx").and.not.include("Seq Scan on jobs");
      expect(
        (await readActiveJobsNamed(pool(), namespace, name)).map((view) => view.id),
      ).to.include(id);
      expect(await readActiveJobsNamed(pool(), `${namespace}-x`, name)).to.deep.equal([]);
    });

    it("finds subtrees, ancestors and roles by the path's index", async () => {
      const { rows } = await pool().query("SELECT id FROM projects WHERE name = 'large-20'");
      const id = rows[0].id;
      expect(await plansOf(pool(), (db) => ancestors(db, id))).to.include("projects_path_idx");
      expect(
        await plansOf(pool(), (db) => roleOf(db, id, { user: "u", groups: ["g"] })),
      ).to.include("projects_path_idx");
      const leaf = await pool().query("SELECT id FROM projects WHERE name = 'large-w5'");
      expect(await plansOf(pool(), (db) => descendants(db, leaf.rows[0].id))).to.include(
        "projects_path_idx",
      );
    });
  });
});

// Without an index on jobs that have not ended, a start reads all that ever had.
describe("a start on a long history (Armada #4321)", () => {
  let database: TestDatabase;

  before(async () => {
    database = await createTestDatabase();
    const project = await addProject(database.pool, "old");
    await addJob(database.pool, project);
    await database.pool.query(
      `INSERT INTO jobs (id, project_id, namespace, name, pool, priority, priority_class, parallelism, pod_gpus,
        pod_cpu_millis, pod_memory_bytes, created_at, allows_borrowing, preempts, backoff_limit, status, finished_at)
       SELECT gen_random_uuid(), $1, 'ns', 'j' || n, 'default', 0, 'c', 1, 1, 100, 100, now(), true, false, 0,
        'succeeded', now()
       FROM generate_series(1, 30000) AS n`,
      [project],
    );
    await database.pool.query("VACUUM ANALYZE");
  });

  after(() => database.drop());

  it("forgets the oldest by the time they ended", async () => {
    const forget = (db: Queryable) => forgetJobs(db, monday, 100);
    const plan = await plansOf(database.pool, forget);
    expect(plan).to.include("jobs_finished_idx").and.not.include("Seq Scan on jobs");
  });

  it("reads only the jobs that have not ended", async () => {
    for (const read of [activeJobKeys, readPools]) {
      const plan = await plansOf(database.pool, read);
      expect(plan).to.not.include("Seq Scan on jobs");
      expect(plan).to.include("jobs_active_project_idx");
    }
  });
});
