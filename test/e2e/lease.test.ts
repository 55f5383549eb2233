/**
 * The Lease is renewed whatever is decided: gangs short of CPU among many jobs of different sizes, whose cheapest victims are
 * the hardest to find. ROTA_LEASE_NODES=32 fills so many nodes, with 40 jobs each.
 */
import { expect } from "chai";
import { leases } from "../../src/kube/lease-lock.ts";
import { each } from "../../src/runtime/parallel.ts";
import { leaseName } from "../../src/operator/components.ts";
import { usualLease } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

const nodes = Number(process.env["ROTA_LEASE_NODES"] ?? "2");
const jobsPerNode = 40;
const count = nodes * jobsPerNode;

const demands = (cpuMillis: number, memoryMebibytes: number) => ({
  containers: [
    {
      name: "main",
      image: "none.example/none:1",
      resources: {
        requests: { cpu: `${cpuMillis}m`, memory: `${memoryMebibytes}Mi` },
      },
    },
  ],
});

describe("the operator's Lease", function () {
  this.timeout(120_000 + count * 500);
  const team = useTeam({ operator: usualLease });

  async function term(): Promise<object> {
    const { spec } = await team.view.client.get(leases, `rota-system/${leaseName}`);
    const { holderIdentity, leaseTransitions } = spec as Record<string, unknown>;
    return { holderIdentity, leaseTransitions };
  }

  it("is not lost while gangs look for victims among different jobs", async () => {
    const { cluster, database, submit, view } = team;
    await cluster.addNodes({ count: nodes, gpus: 8 });
    // Each of another size; together a little less than 64 CPUs and 512 GiB on each node.
    await each(
      Array.from({ length: count }, (_, index) => index),
      16,
      async (index) => {
        const cpuMillis = 400 + ((index * 611) % 2_003);
        const memoryMebibytes = 4_000 + ((index * 733) % 13_001);
        await submit(`small-${index}`, {
          spec: { template: { spec: demands(cpuMillis, memoryMebibytes) } },
        });
      },
    );
    await view.until("the jobs to start, or to be judged", async () => {
      const { rows } = await database.pool.query(
        "SELECT FROM jobs WHERE status = 'starting' OR (status = 'pending' AND reason IN ('Queued', 'AwaitingRelease')) LIMIT 1",
      );
      const all = await database.pool.query<{ count: number }>("SELECT count(*)::int FROM jobs");
      return rows.length === 0 && all.rows[0]?.count === count;
    });
    const before = await term();
    const gangs = [3, 4, 5];
    for (const parallelism of gangs)
      await submit(`gang-${parallelism}`, {
        parallelism,
        priorityClassName: "high",
        spec: { template: { spec: demands(7_000 + parallelism, 70_000) } },
      });
    for (const parallelism of gangs) await team.stateOf(`gang-${parallelism}`, "Running");
    expect(await term()).to.deep.equal(before);
  });
});
