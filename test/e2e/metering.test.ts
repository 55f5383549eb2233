/** What plans grant besides GPUs, what is metered, and what a job without a promise may do. */
import { expect } from "chai";
import { readyOf } from "../../dev/quickstart/cluster-view.ts";
import { owner, plan } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

const slice = "nvidia.com/mig-1g.5gb";
const amd = "amd.com/gpu";
const nic = "rdma/hca";

type Amounts = Readonly<Record<string, string | number>>;

const asking = (limits: Amounts, more: Readonly<Record<string, unknown>> = {}) => ({
  template: {
    spec: { containers: [{ name: "main", image: "none.example/none:1", resources: { limits } }] },
  },
  ...more,
});

describe("metering", () => {
  const team = useTeam();

  const grant = (pool: string, resourceType: string, quantity: number): Promise<unknown> => {
    const name = `${pool}-${resourceType.replaceAll(/[^a-z0-9]/gi, "-").toLowerCase()}`;
    return team.view.apply(plan(name, { owner, pool, resourceType, quantity }));
  };
  const readyPlan = (name: string, is: "True" | "False") =>
    team.view.until(`plan ${name} to be Ready=${is}`, async () => {
      const found = (await team.view.plans()).find((entry) => entry.name === name);
      const ready = found && readyOf(found);
      return ready?.status === is ? ready : undefined;
    });
  const strict = { borrowing: "Never" };

  it("makes devices wait for a plan, and counts them under it", async () => {
    await team.pool("slices", { resources: { [slice]: "4" } });
    await team.submit("first", { pool: "slices", spec: asking({ [slice]: 2, cpu: 1 }, strict) });
    const waiting = await team.reasonOf("first", "NoQuota");
    expect(waiting.status.message).to.include(
      `no plan of its project or a project above it grants ${slice}`,
    );
    await grant("slices", slice, 2);
    await team.stateOf("first", "Running");
    expect((await readyPlan("slices-nvidia-com-mig-1g-5gb", "True")).message).to.equal(
      `in force: 2 ${slice}, the whole week`,
    );
    await team.submit("second", { pool: "slices", spec: asking({ [slice]: 1 }, strict) });
    const second = await team.reasonOf("second", "QuotaExceeded");
    expect(second.status.message).to.include(`2 of 2 ${slice} in use; the job needs 1 ${slice}`);
    await team.cancel("second");
    await team.run("third", { pool: "slices", spec: asking({ [slice]: 1 }) });
    expect((await team.job("third")).status.borrowing).to.equal(true);
    await team.checkInvariants();
  });

  it("counts GPUs of every vendor under one type", async () => {
    await team.pool("vendors", { gpus: 4, resources: { [amd]: "4" }, plan: { quantity: 3 } });
    await team.run("green", { pool: "vendors", gpus: 2 });
    await team.submit("red", { pool: "vendors", spec: asking({ [amd]: 2 }, strict) });
    const red = await team.reasonOf("red", "QuotaExceeded");
    expect(red.status.message).to.include("2 of 3 GPUs in use; the job needs 2 GPUs");
    await team.cancel("red");
    await team.submit("small", { pool: "vendors", spec: asking({ [amd]: 1 }, strict) });
    await team.stateOf("small", "Running");
    await grant("vendors", amd, 4);
    const refused = await readyPlan("vendors-amd-com-gpu", "False");
    expect(refused.message).to.include(`${amd} counts as GPU; use GPU`);
  });

  it("counts memory where a plan of the pool names it", async () => {
    await team.pool("wide");
    await grant("wide", "memory", 4);
    const memory = (amount: string) => asking({ memory: amount, "nvidia.com/gpu": 1 }, strict);
    await team.submit("fits", { pool: "wide", spec: memory("3Gi") });
    await team.stateOf("fits", "Running");
    await team.submit("over", { pool: "wide", spec: memory("1536Mi") });
    const over = await team.reasonOf("over", "QuotaExceeded");
    expect(over.status.message).to.include(
      "3 GiB of 4 GiB of memory in use; the job needs 1.5 GiB of memory",
    );
  });

  it("leaves out network devices until a plan names them", async () => {
    await team.pool("fabric", { resources: { [nic]: "4" } });
    const spec = asking({ [nic]: 1, "nvidia.com/gpu": 1 }, strict);
    await team.submit("free", { pool: "fabric", spec });
    await team.stateOf("free", "Running");
    expect((await team.job("free")).status.borrowing).to.equal(false);
    await grant("fabric", nic, 1);
    await readyPlan("fabric-rdma-hca", "True");
    await team.submit("beyond", { pool: "fabric", spec });
    expect((await team.reasonOf("beyond", "QuotaExceeded")).status.message).to.include(nic);
  });

  it("gives a job that asks for nothing planned no promise, and no victims", async () => {
    await team.pool("bare", { cpus: 16, plan: { quantity: 0 } });
    await team.run("training", {
      pool: "bare",
      priorityClassName: "high",
      spec: asking({ "nvidia.com/gpu": 8, cpu: 12 }),
    });
    expect((await team.job("training")).status.borrowing).to.equal(true);
    await team.submit("prepares", { pool: "bare", spec: asking({ cpu: 8 }, strict) });
    const waits = await team.reasonOf("prepares", "InsufficientCapacity");
    expect(waits.status.message).to.not.include("preempts");
    await team.cancel("prepares");
    await team.submit("little", { pool: "bare", spec: asking({ cpu: 2 }, strict) });
    await team.stateOf("little", "Running");
    expect((await team.job("little")).status.borrowing, "may always borrow").to.equal(true);
    expect((await team.job("training")).status.state).to.equal("Running");
    await team.checkInvariants();
  });
});
