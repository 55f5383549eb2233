/** Pages of the preemption log against a plain reading of it, and what they cost beside others' history. */
import { expect } from "chai";
import {
  preemptionPage,
  type PreemptionKey,
  type PreemptionRow,
} from "../../src/db/reports/preemption-page.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { allPages } from "../support/paging.ts";

interface PlanNode {
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly PlanNode[];
}

const decisions = 6000;

/** Rows that a node of the plan and those below it made or threw away. */
const rowsRead = (node: PlanNode): number =>
  (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"] +
  (node.Plans ?? []).reduce((sum, below) => sum + rowsRead(below), 0);

describe("pages of the preemption log", () => {
  let database: TestDatabase;

  /** Namespaces p-0 to p-9 take turns; p-small has few. Several decisions share an instant. */
  before(async () => {
    database = await createTestDatabase();
    await database.pool.query(
      `INSERT INTO preemptions (id, preemptor_job_id, preemptor_attempt, preemptor, pool, rule, reason, decided_at)
      SELECT md5('decision' || turn)::uuid, gen_random_uuid(), 0,
        CASE WHEN turn % 1500 = 0 THEN 'p-small' ELSE 'p-' || turn % 10 END || '/job', 'default', 'LowerPriority',
        'because', '2026-01-01'::timestamptz + (turn / 3) * interval '1 minute'
      FROM generate_series(1, $1) AS turn`,
      [decisions],
    );
    await database.pool.query(
      `INSERT INTO preemption_victims
        (preemption_id, victim_job_id, victim_attempt, victim, pods, nodes, gpus, rule, decided_at)
      SELECT md5('decision' || turn)::uuid, gen_random_uuid(), 1,
        CASE WHEN turn % 2000 = 0 THEN 'p-small' ELSE 'p-' || (turn * 7 + which) % 10 END || '/victim-' || which,
        1, '{node}', 1, 'LowerPriority', '2026-01-01'::timestamptz + (turn / 3) * interval '1 minute'
      FROM generate_series(1, $1) AS turn, generate_series(0, turn % 4) AS which`,
      [decisions],
    );
    await database.pool.query("ANALYZE preemptions, preemption_victims");
  });
  after(() => database.drop());

  it("hold each decision that concerns a namespace, once", async () => {
    const read = (namespaces: readonly string[] | null, since?: string) =>
      allPages<PreemptionRow, PreemptionKey>(
        (request) => preemptionPage(database.pool, { ...request, namespaces, since }),
        97,
      );
    const all = await read(null);
    expect(all).to.have.lengthOf(decisions);
    const since = "2026-01-02T09:00:00Z";
    for (const namespaces of [["p-3"], ["p-small"], ["p-small", "p-3", "absent"], []]) {
      const concerns = ({ preemptor, victims }: PreemptionRow): boolean =>
        [preemptor ?? "", ...victims.map(({ job }) => job)].some((job) =>
          namespaces.includes(job.slice(0, job.indexOf("/"))),
        );
      const own = all.filter(concerns);
      expect(await read(namespaces)).to.deep.equal(own);
      const late = own.filter(({ decidedAt }) => decidedAt.toString() >= since);
      expect(await read(namespaces, since)).to.deep.equal(late);
    }
  });

  it("cost a small project nothing for others' history", async () => {
    let plan: PlanNode | undefined;
    const explained: Queryable = {
      query: async (text, values) => {
        const { rows } = await database.pool.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
          `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`,
          [...(values ?? [])],
        );
        plan = rows[0]?.["QUERY PLAN"][0].Plan;
        return { rows: [], command: "", rowCount: 0, oid: 0, fields: [] };
      },
    };
    await preemptionPage(explained, { limit: 50, namespaces: ["p-small"] });
    if (plan === undefined) throw new Error("no plan");
    expect(rowsRead(plan)).to.be.within(1, 300);
    await preemptionPage(explained, { limit: 50, namespaces: null });
    expect(rowsRead(plan)).to.be.within(50, 1500);
  });
});
