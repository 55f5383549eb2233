/** Two operators act at once, on purpose: locks and fences in the database keep them apart, not the lease. */
import { expect } from "chai";
import { watchInvariants } from "../support/sampler.ts";
import { useTeam } from "../support/team.ts";

const pools = ["left", "right"] as const;
const perPool = 24;
const alone = { ROTA_LEADER_ELECTION: "false" };

describe("two operators at once", function () {
  const team = useTeam({ operator: false });

  before(async () => {
    for (const pool of pools) await team.pool(pool, { count: 2, plan: { quantity: 12 } });
  });

  const names = pools.flatMap((pool) =>
    Array.from({ length: perPool }, (_, index) => ({ pool, index, name: `${pool}-${index}` })),
  );

  async function submitAll(): Promise<void> {
    for (const { pool, index, name } of names) {
      await team.submit(name, {
        pool,
        gpus: 1 + (index % 3),
        parallelism: 1 + (index % 2),
        priorityClassName: index % 4 === 3 ? "high" : "low",
        annotations: {
          "rota.dev/simulate-run-seconds": String(index % 3),
          "rota.dev/simulate-termination-seconds": String(index % 2),
        },
      });
    }
  }

  it("start, evict and end each job as one would", async () => {
    const { view, database } = team;
    const [first] = await Promise.all([team.operate(alone), team.operate(alone)]);
    await team.ready();
    const sampler = watchInvariants(view, database.pool, { strayPods: true });
    // They hold all GPUs of a pool until somebody of high priority comes.
    for (const pool of pools)
      await team.submit(`${pool}-filler`, { pool, gpus: 4, parallelism: 4 });
    await Promise.all(pools.map((pool) => team.stateOf(`${pool}-filler`, "Running")));
    await submitAll();
    await first.kill();
    await team.operate(alone);
    for (const pool of pools) await team.cancel(`${pool}-filler`);
    for (const { name } of names) await team.stateOf(name, "Succeeded");

    expect(await sampler.stop(), "looks at the invariants").to.be.at.least(5);
    await team.checkInvariants();
    const { rows } = await database.pool.query<{ name: string; failures: number }>(
      "SELECT name, failures FROM jobs WHERE failures > 0 OR status NOT IN ('succeeded', 'cancelled')",
    );
    expect(rows).to.deep.equal([]);
    // One operator may cancel an eviction that the other, with the row it read before, has just asked for: the attempt
    // runs on and ends as disrupted. With a common lease this takes a change of leader at that moment.
    const { rows: retries } = await database.pool.query(
      `
      SELECT event.name, event.attempt, event.reason, job.message, (
          SELECT string_agg(concat_ws(' ', attempt, to_status, reason), ', ' ORDER BY id)
          FROM job_events WHERE job_id = event.job_id
        ) AS history
      FROM job_events AS event
      JOIN jobs AS job ON job.id = event.job_id
      WHERE event.to_status = 'pending' AND event.from_status IS NOT NULL AND event.reason <> 'ReservationExpired'
        AND NOT (event.reason = 'PodDisrupted' AND EXISTS (
          SELECT FROM job_events AS cancelled
          WHERE cancelled.job_id = event.job_id AND cancelled.attempt = event.attempt
            AND cancelled.from_status = 'evicting' AND cancelled.to_status = 'running'
        ))
      `,
    );
    expect(retries, "nobody took another's pods for lost").to.deep.equal([]);
    const { rows: victims } = await database.pool.query("SELECT FROM preemption_victims");
    expect(victims.length, "somebody was evicted").to.be.at.least(1);
  });
});
