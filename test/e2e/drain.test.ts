import { expect } from "chai";
import type { Pod } from "../../src/resources/types.ts";
import { owner, plan } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

const gangs = 12;
const podsPerGang = 24;
const names = Array.from({ length: gangs }, (_, index) => `gang-${index}`);

/** Pods of each gang that has any. */
function podsByGang(pods: readonly Pod[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { jobKey } of pods) counts.set(jobKey, (counts.get(jobKey) ?? 0) + 1);
  return counts;
}

describe("an operator stopped at work", function () {
  // A lease this long must be given up, not waited for.
  const team = useTeam({
    objects: [plan("all", { owner, quantity: gangs * podsPerGang })],
    operator: { ROTA_LEASE_SECONDS: "600" },
  });

  before(() => team.cluster.addNodes({ count: gangs, gpus: podsPerGang, namePrefix: "node-" }));

  const isHalfMade = (count: number): boolean => count > 0 && count < podsPerGang;

  it("finishes gangs in creation, and ends with status 0", async () => {
    const { view } = team;
    await Promise.all(names.map((name) => team.submit(name, { parallelism: podsPerGang })));
    await view.until("a gang to be half made", async () =>
      [...podsByGang(await view.pods()).values()].some(isHalfMade),
    );
    process.kill(team.operator.pid, "SIGTERM");
    expect(await team.operator.ended).to.equal("status 0");
    const left = podsByGang(await view.pods());
    expect([...left].filter(([, count]) => isHalfMade(count))).to.deep.equal([]);
    expect(left.size).to.be.at.least(1);
  });

  it("leaves the lease to the next, which makes the rest", async () => {
    const { database, view } = team;
    const made = await view.pods();
    await team.operate();
    for (const name of names) {
      expect((await team.stateOf(name, "Running")).status.attempt).to.equal(1);
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
