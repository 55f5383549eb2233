/** Gangs over two real nodes: their pods find each other by name and talk by TCP. */
import { expect } from "chai";
import { type RealInstallation, startRealInstallation } from "./support/real-installation.ts";
import { describeOnRealNodes } from "./support/required.ts";
import { execIn, logsOf, podsOf, runWork } from "./support/work.ts";

describeOnRealNodes("a gang over two real nodes", () => {
  let installation: RealInstallation;

  before(async () => {
    installation = await startRealInstallation();
  });

  after(async () => {
    await installation?.stop();
  });

  it("meets at its leader by TCP, and completes", async () => {
    const options = { pods: 2, gpus: 3, WORK_STEPS: 2, WORK_RENDEZVOUS_PORT: 29_500 };
    const done = await runWork(installation, "pair", options, "Succeeded", "Failed");
    expect(done.status).to.include({ state: "Succeeded", attempt: 1 });
    const pods = await podsOf(installation, "pair");
    expect(new Set(pods.map(({ spec }) => spec.nodeName)).size).to.equal(2);
    const [leader = "", other = ""] = pods.map(({ metadata }) => metadata.name);
    expect(await logsOf(installation, leader)).to.include("met pod 1 from 10.0.");
    const address = "pair-0.rota-gang.team.svc:29500";
    expect(await logsOf(installation, other)).to.include(`met the leader at ${address}`);
  });

  it("resolves its own names only, on either node", async () => {
    await runWork(installation, "names", { pods: 2, gpus: 3 }, "Running");
    const pods = await podsOf(installation, "names");
    const addresses = pods.map(({ status }) => status.podIP);
    for (const { metadata } of pods) {
      const look = async (name: string): Promise<string> =>
        (await execIn(installation, metadata.name, "lookup", name)).stdout.trim();
      const found = [await look("names-0.rota-gang.team.svc"), await look("names-1.rota-gang")];
      expect(found).to.deep.equal(addresses);
      const elsewhere = await look("example.com").catch((error: Error) => error.message);
      expect(elsewhere).to.match(/no such host|server misbehaving/);
    }
  });
});
