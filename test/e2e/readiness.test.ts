import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
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

interface Readiness {
  readonly status: number;
  readonly text: string;
}

async function readinessOf({ url }: Operator): Promise<Readiness> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, text: (await response.text()).trim() };
}

describe("two operators, a leader and a follower", function () {
  let installation: Installation;
  let proxy: FaultProxy;
  let leader: Operator;
  let follower: Operator;

  before(async () => {
    installation = await startInstallation();
    const { cluster, database, view } = installation;
    await cluster.addNodes({ count: 1, gpus: 8, namePrefix: "node-" });
    await view.apply(project("team", { owner }));
    await view.apply(plan("all", { owner }));
    leader = await installation.operate();
    await teamIsReady(installation);
    const url = new URL(database.url);
    proxy = await startFaultProxy(Number(url.port));
    url.hostname = "127.0.0.1";
    url.port = String(proxy.port);
    follower = await installation.operate({ DATABASE_URL: url.href });
  });

  after(async () => {
    await installation?.stop();
    await proxy?.close();
  });

  const followerIs = (status: number) =>
    installation.view.until(`the follower to answer ${status}`, async () => {
      const readiness = await readinessOf(follower);
      return readiness.status === status && readiness;
    });

  it("are both ready: a rolling update can go on", async () => {
    expect(await readinessOf(leader)).to.deep.equal({ status: 200, text: "ok" });
    expect(await readinessOf(follower)).to.deep.equal({ status: 200, text: "ok" });
  });

  it("the one whose database does not answer is not, says so, and recovers", async () => {
    proxy.setMode({ kind: "cut" });
    expect((await followerIs(503)).text).to.equal("database");
    proxy.setMode({ kind: "pass" });
    expect((await followerIs(200)).text).to.equal("ok");
  });

  it("the follower leads when the leader is told to stop", async () => {
    process.kill(leader.pid, "SIGTERM");
    expect(await leader.ended).to.equal("status 0");
    await installation.view.apply(job("team", "next", { pool: "default", gpus: 1 }));
    await teamJobIs(installation, "next", "Running");
    expect((await readinessOf(follower)).status).to.equal(200);
  });
});
