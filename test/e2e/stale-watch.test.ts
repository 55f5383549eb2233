/**
 * An operator whose watches lag acts on the API server's word where it would do harm otherwise: it gives no space away
 * that is in use, and cancels no job that is there.
 */
import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { jobs } from "../../src/resources/types.ts";
import { type JobOptions } from "../support/installation.ts";
import { samplesOf } from "../support/operator-metrics.ts";
import { podType, useTeam } from "../support/team.ts";
import { startWatchProxy, type WatchProxy } from "../support/watch-proxy.ts";

const alone = { ROTA_LEADER_ELECTION: "false" };
/** The pod is there until the test removes it. */
const stays = { "rota.dev/simulate-termination-seconds": "3600" };

describe("an operator whose watches lag", function () {
  const team = useTeam({ operator: false });
  const { stateOf } = team;
  let proxy: WatchProxy;
  let lagging: Operator;

  before(async () => {
    proxy = await startWatchProxy(team.cluster);
    lagging = await team.operate({ ...alone, KUBECONFIG: proxy.kubeconfig });
    await team.ready();
  });

  after(async () => {
    await proxy?.close();
  });

  afterEach(() => {
    proxy.release("pods");
    proxy.release("jobs");
  });

  const submit = (pool: string, name: string, options: Partial<JobOptions> = {}): Promise<void> =>
    team.submit(name, { pool, gpus: 8, ...options });
  const podOf = async (name: string) =>
    (await team.view.pods()).find((pod) => pod.name === `${name}-1-0`);
  /** A job that has a pod on all GPUs of its pool, of which the lagging operator has not heard. */
  async function startUnobserved(pool: string, name: string): Promise<string> {
    await team.pool(pool);
    proxy.withhold("pods");
    await submit(pool, name, { annotations: stays });
    await team.view.until("the pod to run", async () => {
      return (await podOf(name))?.phase === "Running";
    });
    await stateOf(name, "Starting");
    return (await team.job(name)).uid;
  }
  /** Whoever waits for the space has been told so often that it is in use. */
  async function staysInUse(name: string, uid: string): Promise<void> {
    const question = new RegExp(`^GET /api/v1/namespaces/team/pods\\?.*${uid}`);
    const asked = proxy.count(question);
    await team.view.until("the operator to ask again and again", async () => {
      const { rows } = await team.database.pool.query<{ gpus: number }>(
        "SELECT coalesce(sum(gpus), 0)::int AS gpus FROM allocations WHERE job_id = $1",
        [uid],
      );
      expect((await podOf(name))?.phase, "the pod").to.equal("Running");
      if (rows[0]?.gpus !== 8) throw new Error(`${name} has ${rows[0]?.gpus} GPUs, and a pod`);
      return proxy.count(question) >= asked + 3;
    });
  }
  async function removePod(name: string): Promise<void> {
    const options = { gracePeriodSeconds: 0 };
    await team.view.client.delete(podType, `team/${name}-1-0`, options);
  }

  it("keeps a deleted job's capacity until unseen pods leave", async () => {
    const uid = await startUnobserved("deleted", "deleted");
    await team.cancel("deleted");
    await submit("deleted", "next");
    await staysInUse("deleted", uid);
    await removePod("deleted");
    await stateOf("next", "Starting");
    proxy.release("pods");
    await stateOf("next", "Running");
    await team.checkInvariants();
  });

  it("keeps an ending attempt's capacity until unseen pods leave", async () => {
    const uid = await startUnobserved("ended", "ended");
    await submit("ended", "follows");
    await team.suspend("ended", true);
    await staysInUse("ended", uid);
    await removePod("ended");
    await stateOf("follows", "Starting");
    proxy.release("pods");
    await stateOf("follows", "Running");
    await team.checkInvariants();
  });

  it("keeps a victim's capacity until unseen pods leave", async () => {
    const uid = await startUnobserved("victim", "victim");
    await submit("victim", "urgent", { priorityClassName: "high" });
    await stateOf("urgent", "Reserved");
    await staysInUse("victim", uid);
    await removePod("victim");
    await stateOf("urgent", "Starting");
    proxy.release("pods");
    await stateOf("urgent", "Running");
    await team.checkInvariants();
  });

  const reconciled = async (): Promise<number> =>
    (await samplesOf(lagging, "rota_controller_reconcile_total"))
      .filter(({ labels }) => labels["controller"] === "job" && labels["result"] === "done")
      .reduce((sum, { value }) => sum + value, 0);
  const statusesOf = async (name: string): Promise<string[]> => {
    const { rows } = await team.database.pool.query<{ status: string }>(
      "SELECT DISTINCT to_status::text AS status FROM job_events WHERE name = $1 ORDER BY 1",
      [name],
    );
    return rows.map(({ status }) => status);
  };

  it("does not take a gang with unseen pods for lost", async () => {
    await team.pool("whole");
    proxy.withhold("pods");
    const other = await team.operate(alone);
    await submit("whole", "whole", { parallelism: 2, gpus: 2 });
    await stateOf("whole", "Running");
    const before = await reconciled();
    await team.view.client.patch(jobs, "team/whole", {
      metadata: { annotations: { look: "again" } },
    });
    await team.view.until("the lagging operator to look at the job", async () => {
      return (await reconciled()) > before;
    });
    expect(await statusesOf("whole")).to.deep.equal(["pending", "running", "starting"]);
    expect((await team.job("whole")).status).to.include({
      state: "Running",
      attempt: 1,
    });
    await other.stop();
    proxy.release("pods");
    await team.checkInvariants();
  });

  it("does not cancel a job that it has not seen", async () => {
    await team.pool("unheard");
    proxy.withhold("jobs");
    const other = await team.operate(alone);
    const before = await reconciled();
    await submit("unheard", "unheard");
    await stateOf("unheard", "Running");
    await team.view.until("the lagging operator to look at the job", async () => {
      return (await reconciled()) > before;
    });
    await other.stop();
    proxy.release("jobs");
    expect(await statusesOf("unheard")).to.deep.equal(["pending", "running", "starting"]);
    expect((await podOf("unheard"))?.phase).to.equal("Running");
    await team.checkInvariants();
  });
});
