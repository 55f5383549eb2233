/** Two operators act at once, on purpose: locks and fences in the database keep them apart, not the lease. */
import { expect } from "chai";
import { checkInvariants } from "../support/invariants.ts";
import {
  applyTeam,
  type Installation,
  job,
  owner,
  plan,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";
import { watchInvariants } from "../support/sampler.ts";

const pools = ["left", "right"] as const;
const perPool = 24;
const alone = { ROTA_LEADER_ELECTION: "false" };

describe("two operators that act at once", function () {
  let installation: Installation;

  before(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    await applyTeam(installation);
    for (const pool of pools) {
      await view.apply(plan(`all-of-${pool}`, { owner, pool, quantity: 12 }));
      await cluster.addNodes({ count: 2, gpus: 8, pool, namePrefix: `${pool}-` });
    }
  });

  after(async () => {
    await installation?.stop();
  });

  const names = pools.flatMap((pool) =>
    Array.from({ length: perPool }, (_, index) => ({ pool, index, name: `${pool}-${index}` })),
  );

  async function submitAll(): Promise<void> {
    for (const { pool, index, name } of names) {
      await installation.view.apply(
        job("team", name, {
          pool,
          gpus: 1 + (index % 3),
          parallelism: 1 + (index % 2),
          priorityClassName: index % 4 === 3 ? "high" : "low",
          annotations: {
            "rota.dev/simulate-run-seconds": String(index % 3),
            "rota.dev/simulate-termination-seconds": String(index % 2),
          },
        }),
      );
    }
  }

  it("start, evict, and end each job as one would, and one of them may be killed in the midst", async () => {
    const { view, database } = installation;
    const [first] = await Promise.all([installation.operate(alone), installation.operate(alone)]);
    await teamIsReady(installation);
    const sampler = watchInvariants(view, database.pool);
    // They hold all GPUs of a pool until somebody of high priority comes.
    for (const pool of pools)
      await view.apply(
        job("team", `${pool}-filler`, {
          pool,
          gpus: 4,
          parallelism: 4,
          priorityClassName: "low",
        }),
      );
    await Promise.all(pools.map((pool) => teamJobIs(installation, `${pool}-filler`, "Running")));
    await submitAll();
    await first.kill();
    await installation.operate(alone);
    for (const pool of pools)
      await view.remove(job("team", `${pool}-filler`, { pool, gpus: 4, parallelism: 4 }));
    for (const { name } of names) await teamJobIs(installation, name, "Succeeded");

    expect(await sampler.stop(), "looks at the invariants").to.be.at.least(5);
    await checkInvariants(view, database.pool);
    const { rows } = await database.pool.query<{ name: string; failures: number }>(
      "SELECT name, failures FROM jobs WHERE failures > 0 OR status NOT IN ('succeeded', 'cancelled')",
    );
    expect(rows).to.deep.equal([]);
    const { rows: retries } = await database.pool.query(
      "SELECT name, reason FROM job_events WHERE to_status = 'pending' AND from_status IS NOT NULL AND reason <> 'ReservationExpired'",
    );
    expect(retries, "nobody took another's pods for lost").to.deep.equal([]);
    const { rows: victims } = await database.pool.query("SELECT FROM preemption_victims");
    expect(victims.length, "somebody was evicted").to.be.at.least(1);
  });
});
