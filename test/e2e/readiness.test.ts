import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { owner, plan } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

interface Readiness {
  readonly status: number;
  readonly text: string;
}

async function readinessOf({ url }: Operator): Promise<Readiness> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, text: (await response.text()).trim() };
}

describe("two operators, a leader and a follower", function () {
  const team = useTeam({ objects: [plan("all", { owner })] });
  let proxy: FaultProxy;
  let leader: Operator;
  let follower: Operator;

  before(async () => {
    leader = team.operator;
    await team.cluster.addNodes({ count: 1, gpus: 8, namePrefix: "node-" });
    const url = new URL(team.database.url);
    proxy = await startFaultProxy(Number(url.port));
    url.hostname = "127.0.0.1";
    url.port = String(proxy.port);
    follower = await team.operate({ DATABASE_URL: url.href });
  });

  after(async () => {
    await proxy?.close();
  });

  const followerIs = (status: number) =>
    team.view.until(`the follower to answer ${status}`, async () => {
      const readiness = await readinessOf(follower);
      return readiness.status === status && readiness;
    });

  it("are both ready, for rolling updates", async () => {
    expect(await readinessOf(leader)).to.deep.equal({ status: 200, text: "ok" });
    expect(await readinessOf(follower)).to.deep.equal({ status: 200, text: "ok" });
  });

  it("are not ready while their database does not answer", async () => {
    proxy.setMode({ kind: "cut" });
    expect((await followerIs(503)).text).to.equal("database");
    proxy.setMode({ kind: "pass" });
    expect((await followerIs(200)).text).to.equal("ok");
  });

  it("swap roles when the leader is stopped", async () => {
    process.kill(leader.pid, "SIGTERM");
    expect(await leader.ended).to.equal("status 0");
    await team.run("next");
    expect((await readinessOf(follower)).status).to.equal(200);
  });
});
