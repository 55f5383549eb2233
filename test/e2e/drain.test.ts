import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import type { Pod } from "../../src/resources/types.ts";
import {
  type Installation,
  job,
  owner,
  plan,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const gangs = 12;
const podsPerGang = 24;
const names = Array.from({ length: gangs }, (_, index) => `gang-${index}`);

/** Pods of each gang that has any. */
function podsByGang(pods: readonly Pod[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { jobKey } of pods) counts.set(jobKey, (counts.get(jobKey) ?? 0) + 1);
  return counts;
}

describe("an operator that is told to stop while it is busy", function () {
  let installation: Installation;
  let first: Operator;

  before(async () => {
    installation = await startInstallation();
    const { cluster, view } = installation;
    await cluster.addNodes({ count: gangs, gpus: podsPerGang, namePrefix: "node-" });
    await view.apply(project("team", { owner }));
    await view.apply(plan("all", { owner, quantity: gangs * podsPerGang }));
    // A lease this long must be given up, not waited for.
    first = await installation.operate({ ROTA_LEASE_SECONDS: "600" });
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
  });

  const isHalfMade = (count: number): boolean => count > 0 && count < podsPerGang;

  it("finishes every gang whose pods it is creating, and ends with status 0", async () => {
    const { view } = installation;
    const create = (name: string) =>
      view.apply(job("team", name, { pool: "default", gpus: 1, parallelism: podsPerGang }));
    await Promise.all(names.map(create));
    await view.until("a gang to be half made", async () =>
      [...podsByGang(await view.pods()).values()].some(isHalfMade),
    );
    process.kill(first.pid, "SIGTERM");
    expect(await first.ended).to.equal("status 0");
    const left = podsByGang(await view.pods());
    expect([...left].filter(([, count]) => isHalfMade(count))).to.deep.equal([]);
    expect(left.size).to.be.at.least(1);
  });

  it("leaves the lease to the next, which finds nothing to mend and makes the rest", async () => {
    const { database, view } = installation;
    const made = await view.pods();
    await installation.operate();
    for (const name of names) {
      expect((await teamJobIs(installation, name, "Running")).status.attempt).to.equal(1);
    }
    const pods = await view.pods();
    expect([...podsByGang(pods).values()]).to.deep.equal(names.map(() => podsPerGang));
    const uids = new Set(pods.map(({ uid }) => uid));
    expect(made.filter(({ uid }) => !uids.has(uid))).to.deep.equal([]);
    const { rows } = await database.pool.query(
      "SELECT sum(gpus_committed)::int AS committed FROM nodes",
    );
    expect(rows).to.deep.equal([{ committed: gangs * podsPerGang }]);
  });
});
