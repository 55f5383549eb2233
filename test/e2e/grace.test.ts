/** Grace periods have a maximum: when a job is queued, and when pods of jobs from before it was lowered leave. */
import { expect } from "chai";
import { projects } from "../../src/resources/types.ts";
import { podType, useTeam } from "../support/team.ts";

describe("grace periods of jobs", () => {
  const team = useTeam({ operator: { ROTA_MAX_GRACE_SECONDS: "600" } });
  const { submit, run, stateOf, until } = team;

  before(() => team.pool("default"));

  const limit = (terminationGracePeriod: string | null) =>
    team.view.client.patch(projects, "team", { spec: { limits: { terminationGracePeriod } } });
  const template = (seconds: number, container: object = {}) => ({
    metadata: { annotations: { "rota.dev/simulate-termination-seconds": "600" } },
    spec: {
      terminationGracePeriodSeconds: seconds,
      containers: [
        {
          name: "a",
          image: "a",
          resources: { limits: { "nvidia.com/gpu": "1" } },
          ...container,
        },
      ],
    },
  });
  const rejected = async (name: string, spec: object) => {
    await submit(name, { spec: { template: spec } });
    const { status } = await stateOf(name, "Rejected");
    expect(status.reason).to.equal("InvalidValue");
    return status.message;
  };
  const graceOf = async (name: string) => {
    const [pod] = await team.pods(name);
    const raw = await team.view.client.get(podType, `team/${pod?.name ?? ""}`);
    return raw.metadata.deletionGracePeriodSeconds;
  };
  const leavesWithin = (name: string, seconds: number) =>
    team.view.until(`${name} to leave within ${seconds} s`, async () => {
      return (await graceOf(name)) === seconds;
    });

  afterEach(() => limit(null));

  it("beyond the setting are rejected", async () => {
    expect(await rejected("year", template(31_536_000))).to.equal(
      "spec.template.spec.terminationGracePeriodSeconds: 31536000 must be at most 600, the maximum of project team",
    );
  });

  it("of probes are rejected as well", async () => {
    const livenessProbe = { tcpSocket: { port: 80 }, terminationGracePeriodSeconds: 86_400 };
    expect(await rejected("probe", template(30, { livenessProbe }))).to.match(
      /containers\[0\]\.livenessProbe\.terminationGracePeriodSeconds: 86400/,
    );
  });

  it("beyond the project's limit are rejected", async () => {
    await limit("1m");
    await team.view.until("the limit to be known", async () => {
      const name = `over-${Math.random().toString(36).slice(2)}`;
      await submit(name, { spec: { template: template(90), suspend: true } });
      const { status } = await until(
        name,
        "be judged",
        ({ status: now }) => now.state !== undefined,
      );
      return status.state === "Rejected" && /90 must be at most 60/.test(status.message ?? "");
    });
  });

  it("of jobs from before are lowered when they leave", async () => {
    await run("evicted", { spec: { template: template(300) } });
    await limit("20s");
    await submit("urgent", { gpus: 8, priorityClassName: "high" });
    await until("evicted", "be evicted", ({ status: { state } }) => state === "Evicting");
    await leavesWithin("evicted", 20);
    await team.letGo("evicted");
    await team.cancel("urgent");
  });

  it("of pods that leave already are lowered", async () => {
    await run("slow", { spec: { template: template(300) } });
    await team.suspend("slow", true);
    await leavesWithin("slow", 300);
    await limit("20s");
    await team.annotate(`team/${(await team.pods("slow"))[0]?.name ?? ""}`, { look: "again" });
    await leavesWithin("slow", 20);
    await team.letGo("slow");
  });
});
