/** What the client writes, as a real API server takes it: apply, status, eviction under a budget, events, preconditions. */
import { expect } from "chai";
import { createEventRecorder, events } from "../../../src/kube/events.ts";
import { isConflict, isDisruptionBudget, isInvalid, isNotFound } from "../../../src/kube/errors.ts";
import { createInformer } from "../../../src/kube/reflector.ts";
import type { KubeObject, ResourceName } from "../../../src/kube/resource.ts";
import { StatusWriter } from "../../../src/kube/status-writer.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { eventually, setStage } from "./support.ts";
import type { Stage } from "./support.ts";

const core = { group: "", version: "v1", namespaced: true };
const pods: ResourceName = { ...core, plural: "pods", kind: "Pod" };
const configMaps: ResourceName = { ...core, plural: "configmaps", kind: "ConfigMap" };
const budgets: ResourceName = {
  ...core,
  group: "policy",
  plural: "poddisruptionbudgets",
  kind: "PodDisruptionBudget",
};
const namespace = "default";

const pod = (name: string): KubeObject => ({
  metadata: { name, namespace, labels: { app: name } },
  spec: { containers: [{ name: "main", image: "example.com/none" }] },
});

interface PodStatus {
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
}

const isReady = (object: KubeObject): boolean =>
  ((object["status"] ?? {}) as PodStatus).conditions?.some(
    ({ status, type }) => type === "Ready" && status === "True",
  ) ?? false;

const errorOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("writes to a real API server", () => {
  let stage: Stage;

  before(async () => {
    stage = await setStage();
    await eventually(
      20,
      async () =>
        (await errorOf(
          stage.direct.get(
            { ...core, plural: "serviceaccounts", kind: "ServiceAccount" },
            "default/default",
          ),
        )) === undefined,
      () => "the namespace has no service account",
    );
  });
  after(() => stage?.close());

  async function readyPod(name: string): Promise<KubeObject> {
    await stage.direct.create(pods, pod(name));
    let latest: KubeObject = pod(name);
    await eventually(
      30,
      async () => {
        latest = await stage.direct.get(pods, `${namespace}/${name}`);
        return isReady(latest);
      },
      () => `${name} did not become ready: ${JSON.stringify(latest["status"])}`,
    );
    return latest;
  }

  it("applies what it owns and leaves what others own", async () => {
    const client = stage.direct;
    const metadata = { name: "applied", namespace };
    await client.apply(configMaps, { metadata, data: { mine: "1" } });
    await client.patch(
      configMaps,
      "default/applied",
      { data: { theirs: "2" } },
      { fieldManager: "other" },
    );
    const applied = await client.apply(configMaps, { metadata, data: { mine: "3" } });
    expect(applied["data"]).to.deep.equal({ mine: "3", theirs: "2" });
    const contested = { metadata, data: { mine: "4" } };
    const rejected = client.apply(configMaps, contested, { fieldManager: "other", force: false });
    expect(isConflict(await errorOf(rejected))).to.equal(true);
  });

  it("writes nothing on a dry run, and returns the error", async () => {
    await stage.direct.create(pods, pod("dry"), { dryRun: true });
    expect(isNotFound(await errorOf(stage.direct.get(pods, "default/dry")))).to.equal(true);
    const bad = { ...pod("bad"), spec: { containers: [] } };
    expect(isInvalid(await errorOf(stage.direct.create(pods, bad, { dryRun: true })))).to.equal(
      true,
    );
  });

  it("deletes and replaces only what it means", async () => {
    const metadata = { name: "guarded", namespace };
    const first = await stage.direct.create(configMaps, { metadata });
    await stage.direct.patch(configMaps, "default/guarded", { data: { a: "1" } });
    const { resourceVersion = "", uid = "" } = first.metadata;
    const stale = { metadata: { ...metadata, resourceVersion }, data: {} };
    expect(isConflict(await errorOf(stage.direct.replace(configMaps, stale)))).to.equal(true);
    const wrong = stage.direct.delete(configMaps, "default/guarded", { uid: "another" });
    expect(isConflict(await errorOf(wrong))).to.equal(true);
    await stage.direct.delete(configMaps, "default/guarded", { uid });
    expect(isNotFound(await errorOf(stage.direct.get(configMaps, "default/guarded")))).to.equal(
      true,
    );
  });

  it("evicts under a budget, and tells it from an overload", async () => {
    const { uid = "" } = (await readyPod("evicted")).metadata;
    const selector = { matchLabels: { app: "evicted" } };
    const budget = { metadata: { name: "keep", namespace }, spec: { minAvailable: 1, selector } };
    await stage.direct.create(budgets, budget);
    await eventually(
      20,
      async () =>
        isDisruptionBudget(await errorOf(stage.direct.evict("default/evicted", { dryRun: true }))),
      () => "the budget does not protect the pod",
    );
    await stage.direct.delete(budgets, "default/keep");
    await eventually(
      20,
      async () =>
        (await errorOf(stage.direct.evict("default/evicted", { dryRun: true }))) === undefined,
      () => "the dry run is still refused",
    );
    const another = stage.direct.evict("default/evicted", { uid: "another" });
    expect(isConflict(await errorOf(another))).to.equal(true);
    await stage.direct.evict("default/evicted", { uid });
    await eventually(
      20,
      async () => isNotFound(await errorOf(stage.direct.get(pods, "default/evicted"))),
      () => "the pod is still there",
    );
  });

  it("makes one status write of a burst, none without changes", async () => {
    const { metadata } = await stage.direct.create(pods, {
      ...pod("status"),
      spec: {
        ...(pod("status")["spec"] as object),
        schedulingGates: [{ name: "example.com/wait" }],
      },
    });
    const stop = new AbortController();
    const versions: string[] = [];
    const informer = createInformer({
      client: stage.direct,
      type: {
        ...pods,
        fieldSelector: "metadata.name=status",
        project: (raw) => raw.metadata.resourceVersion ?? "",
      },
      namespace,
      clock: systemClock,
      logger: silentLogger,
    });
    informer.start(stop.signal);
    await informer.whenSynced();
    informer.onChange(({ after }) => void versions.push(after ?? ""));
    const writer = new StatusWriter({ client: stage.direct, clock: systemClock });
    const target = {
      type: pods,
      key: "default/status",
      uid: metadata.uid ?? "",
      status: undefined,
      resourceVersion: informer.store.get("default/status") ?? "",
    };
    const burst = Array.from({ length: 50 }, (_, number) =>
      writer.write(target, { message: `change ${number}` }),
    );
    expect(new Set(await Promise.all(burst))).to.deep.equal(new Set(["written"]));
    expect(await writer.write(target, { message: "change 49" })).to.equal("unchanged");
    const latest = await stage.direct.get(pods, "default/status");
    expect((latest["status"] as { message: string }).message).to.equal("change 49");
    await eventually(
      10,
      () => informer.store.get("default/status") === latest.metadata.resourceVersion,
      () => "the informer did not see the write",
    );
    expect(versions).to.have.length(1);
    expect(await writer.write({ ...target, uid: "another" }, { message: "x" })).to.equal("gone");
    stop.abort();
    await informer.stopped();
  });

  it("writes one event for many occurrences", async () => {
    const recorder = createEventRecorder({
      client: stage.direct,
      clock: systemClock,
      logger: silentLogger,
      controller: "example.com/test",
      instance: "test-1",
    });
    const occurrence = {
      regarding: { apiVersion: "v1", kind: "Pod", name: "eventful", namespace, uid: "e" },
      type: "Warning",
      reason: "TooOften",
      action: "Test",
      note: "it happened",
    } as const;
    for (let times = 0; times < 7; times += 1) recorder.event(occurrence);
    await recorder.flush(10);
    recorder.event(occurrence);
    await recorder.flush(10);
    const listed = await stage.direct.list(events, { namespace });
    const ours = listed.filter((event) => event["reason"] === "TooOften");
    expect(ours.map((event) => (event["series"] as { count: number }).count)).to.deep.equal([8]);
  });
});
