/** Time stands still and victims leave at once: evictions that never end would be a cycle of preemption. */
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import { markEvicted } from "../../src/db/jobs/preempt.ts";
import { jobsIn } from "./context.ts";

interface Entry {
  readonly id: string;
  readonly preemptor: string;
  readonly victim: string;
}

/** The preemption log, but for what was evicted when a window closed. */
async function readPreemptionLog(db: DatabasePool): Promise<readonly Entry[]> {
  const { rows } = await db.query<Entry>(
    `
    SELECT preemption.id, preemption.preemptor, victim.victim
    FROM preemption_victims AS victim
    JOIN preemptions AS preemption ON preemption.id = victim.preemption_id
    WHERE preemption.preemptor IS NOT NULL
    `,
  );
  return rows;
}

/** Of evictions without any other change between them, none takes another back. */
function judgeNew(preemptionLog: readonly Entry[], known: ReadonlySet<string>): void {
  const fresh = preemptionLog.filter(({ id }) => !known.has(id));
  const said = new Set(fresh.map(({ preemptor, victim }) => `${preemptor} evicts ${victim}`));
  for (const { preemptor, victim } of fresh) {
    if (said.has(`${victim} evicts ${preemptor}`))
      throw new Error(`${preemptor} and ${victim} evict each other`);
  }
}

/** `settle` runs cycles until nothing changes. */
export async function settle(
  db: DatabasePool,
  jobs: number,
  settle: () => Promise<void>,
): Promise<void> {
  const known = new Set((await readPreemptionLog(db)).map(({ id }) => id));
  const rounds = 2 * jobs + 20;
  for (let round = 0; round < rounds; round += 1) {
    await settle();
    judgeNew(await readPreemptionLog(db), known);
    const leaving = await jobsIn(db, ["evicting"]);
    if (leaving.length === 0) return;
    for (const job of leaving) await markEvicted(db, job);
  }
  throw new Error(`evictions go on after ${rounds} rounds without any other change`);
}
