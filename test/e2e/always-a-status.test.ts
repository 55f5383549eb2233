/**
 * Whatever the API server accepts has a status: while webhooks are down or slow, a quota or a right is missing, one part of
 * a project fails, or the object is being deleted.
 */
import { expect } from "chai";
import { createServer, type Server } from "node:net";
import type { AddressInfo } from "node:net";
import type { Condition } from "../../src/api/conditions.ts";
import type { KubeObject, ResourceName } from "../../src/kube/resource.ts";
import {
  configCommits,
  jobs,
  persistentVolumeClaims,
  projects,
  resourcePlans,
  roleBindings,
} from "../../src/resources/types.ts";
import { core } from "../support/core-resource.ts";
import { failingWebhook, putInForce, refusedUrl, webhooks } from "../support/failing-webhook.ts";
import { changeLimit, limit } from "../support/resource-quota.ts";
import { commit, job, owner, plan, project } from "../support/installation.ts";
import { eventsOf } from "../support/tenants.ts";
import { useTeam } from "../support/team.ts";

interface Seen extends KubeObject {
  readonly status: {
    readonly observedGeneration?: number;
    readonly state?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly Condition[];
  };
}

const podsOfCore = core("pods", "Pod");
describe("every accepted object has a status", () => {
  const team = useTeam({
    mayBeRejected: true,
    operator: { ROTA_START_DEADLINE_SECONDS: "60" },
    objects: ["down", "hang", "full"].map((name) => project(name, { owner })),
  });
  const { submit, stateOf, until } = team;
  let silence: Server;

  before(async () => {
    silence = createServer(() => undefined).listen(0, "127.0.0.1");
    await team.pool("default");
    for (const name of ["down", "hang", "full"]) await team.ready(name);
  });
  after(() => silence.close());

  const silentUrl = () => `https://127.0.0.1:${(silence.address() as AddressInfo).port}/`;
  const down = (name: string, namespace: string, type = podsOfCore): Promise<void> => {
    const object = failingWebhook({ name, namespace, of: type, url: refusedUrl });
    return putInForce(team.view, object, namespace, type);
  };
  const remove = (name: string) => team.view.client.delete(webhooks, name);
  const get = async (type: ResourceName, key: string): Promise<Seen> =>
    (await team.view.client.get(type, key)) as Seen;
  const readyIn = ({ status }: Seen) => status.conditions?.find(({ type }) => type === "Ready");

  it("names a webhook for pods that is down", async () => {
    await down("down", "down");
    await submit("down/early", { pool: "default" });
    const { status } = await until("down/early", "tell the webhook", ({ status: now }) =>
      /failed calling webhook "down\.example\.com"/.test(now.message ?? ""),
    );
    expect(status.state).to.equal("Pending");
    expect(status.reason).to.equal("ReconcileFailed");
    await remove("down");
    await stateOf("down/early", "Running");
  });

  it("says that a webhook does not respond", async () => {
    await team.view.client.create(
      webhooks,
      failingWebhook({ name: "hang", namespace: "hang", of: podsOfCore, url: silentUrl() }),
    );
    await team.view.until("a job to be told", async () => {
      const name = `slow-${Math.random().toString(36).slice(2)}`;
      await submit(`hang/${name}`, { pool: "default" });
      const { status } = await until(
        `hang/${name}`,
        "have a state",
        ({ status: now }) => now.state !== undefined,
      );
      return status.reason === "AwaitingResponse";
    });
    await remove("hang");
  });

  it("names a webhook that goes down between queue and start", async () => {
    await submit("down/later", { pool: "default", spec: { suspend: true } });
    await stateOf("down/later", "Suspended");
    await down("down", "down");
    await team.suspend("down/later", false);
    const { status } = await until("down/later", "tell the webhook", ({ status: now }) =>
      /failed calling webhook "down\.example\.com"/.test(now.message ?? ""),
    );
    expect(status.reason).to.equal("PodsRejected");
    expect((await team.row("down/later"))?.failures).to.equal(0);
    await team.view.until("the event", async () => {
      const told = await eventsOf(team.view, "later");
      return told.some(({ reason }) => reason === "PodsRejected");
    });
    await remove("down");
  });

  for (const [resource, kind, options] of [
    ["services", "Service", { parallelism: 2 }],
    ["configmaps", "ConfigMap", { spec: { configRef: { commit: "settings" } } }],
  ] as const)
    it(`names a webhook for ${resource} that is down`, async () => {
      const namespace = `no-${resource}`;
      await team.view.apply(project(namespace, { owner }));
      await team.ready(namespace);
      if (resource === "configmaps") {
        const stored = commit("settings", { content: { a: 1 } });
        await team.view.apply({ ...stored, metadata: { namespace, name: "settings" } });
      }
      await down(resource, namespace, core(resource, kind));
      await submit(`${namespace}/gang`, { pool: "default", ...options });
      const { status } = await until(
        `${namespace}/gang`,
        "tell",
        ({ status: now }) =>
          /failed calling webhook/.test(now.message ?? "") || now.state === "Running",
      );
      expect(status.message).to.match(/failed calling webhook/);
      expect(status.reason).to.equal("PodsRejected");
      await remove(resource);
    });

  it("names an exhausted ResourceQuota, until it has room", async () => {
    const { view, database } = team;
    await limit(view, { name: "few", namespace: "full" }, { pods: "1" });
    await submit("full/one", { pool: "default", gpus: 0 });
    await stateOf("full/one", "Running");
    const names = ["a", "b", "c", "d", "e"];
    const full = "ResourceQuota full/few: pods 1 of 1 used, the job needs 1";
    for (const name of names) await submit(`full/${name}`, { pool: "default", gpus: 0 });
    for (const name of names) {
      const { status } = await until(`full/${name}`, "be held back", (found) => {
        return found.status.state === "Pending" && found.status.reason === "QuotaExceeded";
      });
      expect(status.message).to.equal(full);
    }
    // Its template has not been checked yet.
    await submit("full/fresh", { pool: "default", gpus: 0, cpu: "123m" });
    const fresh = await until("full/fresh", "tell the quota", (found) => {
      return found.status.message === full;
    });
    expect(fresh.status.state).to.equal("Pending");
    // As after many refusals, by a count of the API server's that Rota did not see.
    await database.pool.query(
      `UPDATE jobs
       SET not_before = now() + interval '1 hour', failed_starts = 1, reason = 'PodsRejected',
         message = 'exceeded quota: few'
       WHERE namespace = 'full' AND status = 'pending'`,
    );
    await changeLimit(view, "full/few", { pods: "10" });
    for (const name of [...names, "fresh"]) await stateOf(`full/${name}`, "Running");
  });

  it("makes the rest of a project where one part fails", async () => {
    await team.view.client.create(
      webhooks,
      failingWebhook({ name: "bindings", namespace: "parts", of: roleBindings, url: refusedUrl }),
    );
    await team.view.until("a project with a part that fails", async () => {
      const found = await get(projects, "parts").catch(() => undefined);
      if (found === undefined)
        await team.view.apply(
          project("parts", {
            owner,
            members: [{ kind: "User", name: "sue", role: "viewer" }],
            storages: [{ name: "home", size: "1Gi" }],
          }),
        );
      const ready = found && readyIn(found);
      return ready?.reason === "ReconcileFailed" && /failed calling webhook/.test(ready.message);
    });
    const claims = await team.view.client.list(persistentVolumeClaims, { namespace: "parts" });
    expect(claims.map(({ metadata }) => metadata.name)).to.deep.equal(["home"]);
    await remove("bindings");
    await team.ready("parts");
    const bound = await team.view.client.list(roleBindings, { namespace: "parts" });
    expect(bound.map(({ metadata }) => metadata.name)).to.deep.equal(["rota-viewer"]);
  });

  const keep = { finalizers: ["test.rota.dev/keep"] };
  const kept: readonly (readonly [ResourceName, string, KubeObject])[] = [
    [jobs, "team/kept", job("team", "kept", { pool: "nowhere", gpus: 1 })],
    [projects, "kept", project("kept", { parent: "absent" })],
    [resourcePlans, "kept", plan("kept", { owner, pool: "kept" })],
    [configCommits, "team/kept", commit("kept", { content: 1, parent: "absent" })],
  ];
  for (const [type, key, object] of kept)
    it(`a ${type.kind} that is deleted before it is settled says so`, async () => {
      await team.view.apply({ ...object, metadata: { ...object.metadata, ...keep } });
      await team.view.client.delete(type, key);
      const seen = await team.view.until("the deletion to be told", async () => {
        const found = await get(type, key);
        return (
          found.metadata["deletionTimestamp"] !== undefined &&
          ["Terminating", "Deleted"].includes(readyIn(found)?.reason ?? "") &&
          found
        );
      });
      expect(seen.status.observedGeneration).to.equal(seen.metadata["generation"]);
      expect(readyIn(seen)?.observedGeneration).to.equal(seen.metadata["generation"]);
      await team.view.client.patch(type, key, { metadata: { finalizers: null } });
    });

  it("a pod's message with NUL ends its job", async () => {
    const { status } = await team.run("nul", { pool: "default" });
    const [pod] = await team.pods("nul");
    expect(status.attempt).to.equal(1);
    await team.view.client.patch(
      podsOfCore,
      `team/${pod?.name ?? ""}`,
      { status: { phase: "Failed", message: "a\u0000b" } },
      { subresource: "status" },
    );
    const failed = await stateOf("nul", "Failed");
    expect(failed.status.message).to.match(/a\ufffdb|a.b/);
  });
});
