/**
 * An operator whose watches lag acts on the API server's word where it would do harm otherwise: it gives no space away
 * that is in use, and cancels no job that is there.
 */
import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { jobs, podsOf } from "../../src/resources/types.ts";
import { checkInvariants } from "../support/invariants.ts";
import {
  applyTeam,
  type Installation,
  job,
  type JobOptions,
  owner,
  plan,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";
import { samplesOf } from "../support/operator-metrics.ts";
import { startWatchProxy, type WatchProxy } from "../support/watch-proxy.ts";

const podType = podsOf("nvidia.com/gpu");
const alone = { ROTA_LEADER_ELECTION: "false" };
/** The pod is there until the test removes it. */
const stays = { "rota.dev/simulate-termination-seconds": "3600" };

describe("an operator whose watches lag", function () {
  let installation: Installation;
  let proxy: WatchProxy;
  let lagging: Operator;

  before(async () => {
    installation = await startInstallation();
    const { cluster } = installation;
    await applyTeam(installation);
    proxy = await startWatchProxy(cluster);
    lagging = await installation.operate({ ...alone, KUBECONFIG: proxy.kubeconfig });
    await teamIsReady(installation);
  });

  after(async () => {
    await installation?.stop();
    await proxy?.close();
  });

  afterEach(() => {
    proxy.release("pods");
    proxy.release("jobs");
  });

  const submit = (pool: string, name: string, options: Partial<JobOptions> = {}): Promise<void> =>
    installation.view.apply(
      job("team", name, { pool, gpus: 8, priorityClassName: "low", ...options }),
    );
  const stateOf = (name: string, ...states: string[]) => teamJobIs(installation, name, ...states);
  const podOf = async (name: string) =>
    (await installation.view.pods()).find((pod) => pod.name === `${name}-1-0`);
  const makePool = async (pool: string): Promise<void> => {
    await installation.view.apply(plan(`all-of-${pool}`, { owner, pool }));
    await installation.cluster.addNodes({ count: 1, gpus: 8, pool, namePrefix: `${pool}-` });
  };
  /** A job that has a pod on all GPUs of its pool, of which the lagging operator has not heard. */
  async function startUnobserved(pool: string, name: string): Promise<string> {
    await makePool(pool);
    proxy.withhold("pods");
    await submit(pool, name, { annotations: stays });
    await installation.view.until("the pod to run", async () => {
      return (await podOf(name))?.phase === "Running";
    });
    await stateOf(name, "Starting");
    return (await installation.view.job(`team/${name}`)).uid;
  }
  /** Whoever waits for the space has been told so often that it is in use. */
  async function staysInUse(name: string, uid: string): Promise<void> {
    const question = new RegExp(`^GET /api/v1/namespaces/team/pods\\?.*${uid}`);
    const asked = proxy.count(question);
    await installation.view.until("the operator to ask again and again", async () => {
      const { rows } = await installation.database.pool.query<{ gpus: number }>(
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
    await installation.view.client.delete(podType, `team/${name}-1-0`, options);
  }

  it("keeps the space of a deleted job until its unseen pods have left", async () => {
    const uid = await startUnobserved("deleted", "deleted");
    await installation.view.client.delete(jobs, "team/deleted");
    await submit("deleted", "next");
    await staysInUse("deleted", uid);
    await removePod("deleted");
    await stateOf("next", "Starting");
    proxy.release("pods");
    await stateOf("next", "Running");
    await checkInvariants(installation.view, installation.database.pool);
  });

  it("keeps the space of an attempt that is ended until its unseen pods have left", async () => {
    const uid = await startUnobserved("ended", "ended");
    await submit("ended", "follows");
    await installation.view.client.patch(jobs, "team/ended", { spec: { suspend: true } });
    await staysInUse("ended", uid);
    await removePod("ended");
    await stateOf("follows", "Starting");
    proxy.release("pods");
    await stateOf("follows", "Running");
    await checkInvariants(installation.view, installation.database.pool);
  });

  it("keeps the space of a victim until its unseen pods have left", async () => {
    const uid = await startUnobserved("victim", "victim");
    await submit("victim", "urgent", { priorityClassName: "high" });
    await stateOf("urgent", "Reserved");
    await staysInUse("victim", uid);
    await removePod("victim");
    await stateOf("urgent", "Starting");
    proxy.release("pods");
    await stateOf("urgent", "Running");
    await checkInvariants(installation.view, installation.database.pool);
  });

  const reconciled = async (): Promise<number> =>
    (await samplesOf(lagging, "rota_controller_reconcile_total"))
      .filter(({ labels }) => labels["controller"] === "job" && labels["result"] === "done")
      .reduce((sum, { value }) => sum + value, 0);
  const statusesOf = async (name: string): Promise<string[]> => {
    const { rows } = await installation.database.pool.query<{ status: string }>(
      "SELECT DISTINCT to_status::text AS status FROM job_events WHERE name = $1 ORDER BY 1",
      [name],
    );
    return rows.map(({ status }) => status);
  };

  it("does not take a gang for lost whose pods it has not seen, and another operator has", async () => {
    await makePool("whole");
    proxy.withhold("pods");
    const other = await installation.operate(alone);
    await submit("whole", "whole", { parallelism: 2, gpus: 2 });
    await stateOf("whole", "Running");
    const before = await reconciled();
    await installation.view.client.patch(jobs, "team/whole", {
      metadata: { annotations: { look: "again" } },
    });
    await installation.view.until("the lagging operator to look at the job", async () => {
      return (await reconciled()) > before;
    });
    expect(await statusesOf("whole")).to.deep.equal(["pending", "running", "starting"]);
    expect((await installation.view.job("team/whole")).status).to.include({
      state: "Running",
      attempt: 1,
    });
    await other.stop();
    proxy.release("pods");
    await checkInvariants(installation.view, installation.database.pool);
  });

  it("does not cancel a job of which it has not heard, and another operator has", async () => {
    await makePool("unheard");
    proxy.withhold("jobs");
    const other = await installation.operate(alone);
    const before = await reconciled();
    await submit("unheard", "unheard");
    await stateOf("unheard", "Running");
    await installation.view.until("the lagging operator to look at the job", async () => {
      return (await reconciled()) > before;
    });
    await other.stop();
    proxy.release("jobs");
    expect(await statusesOf("unheard")).to.deep.equal(["pending", "running", "starting"]);
    expect((await podOf("unheard"))?.phase).to.equal("Running");
    await checkInvariants(installation.view, installation.database.pool);
  });
});
