/**
 * The reflector and a controller on it, behind a proxy that breaks connections, on a real control plane whose API server is
 * killed and whose etcd is compacted, while 5,000 objects change. After each fault the store equals a fresh list,
 * and every object was reconciled with its last version.
 *
 * ROTA_TEST_SEED repeats a run (the seed is printed); ROTA_SOAK_MINUTES=30 repeats the faults in random order for that long
 * (with mocha --timeout 0).
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import type { KubeClient } from "../../../src/kube/client.ts";
import { isAlreadyExists, isNotFound, isUnanswered, KubeError } from "../../../src/kube/errors.ts";
import { createInformer } from "../../../src/kube/reflector.ts";
import { keyOf } from "../../../src/kube/resource.ts";
import type { ResourceType } from "../../../src/kube/resource.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { createController } from "../../../src/runtime/controller.ts";
import { done } from "../../../src/runtime/result.ts";
import type { Controller } from "../../../src/runtime/queue-worker.ts";
import type { Informer } from "../../../src/runtime/informer.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import type { FaultProxy } from "../../support/fault-proxy.ts";
import { createCountingMetrics } from "../../support/counting-metrics.ts";
import { clientOf, eventually, inParallel, seededRandom, setStage } from "./support.ts";
import type { Stage } from "./support.ts";

interface Kept {
  readonly version: string;
  readonly value: string;
}

const configMaps: ResourceType<Kept> = {
  group: "",
  version: "v1",
  plural: "configmaps",
  kind: "ConfigMap",
  namespaced: true,
  labelSelector: "chaos=yes",
  project: (raw) => ({
    version: raw.metadata.resourceVersion ?? "",
    value: (raw["data"] as Record<string, string>)["value"] ?? "",
  }),
};

const namespace = "chaos";
const objects = 5000;
const soakMinutes = Number(process.env["ROTA_SOAK_MINUTES"] ?? 0);
/** Changed during one fault: together the faults change every object at least once. A soak changes all each time. */
const objectsPerFault = soakMinutes > 0 ? objects : 1000;
const writers = 32;
const convergeSeconds = 40;
const seed = Number(process.env["ROTA_TEST_SEED"] ?? 20261123);

const keys = (): string[] =>
  Array.from({ length: objects }, (_, index) => `${namespace}/object-${index}`);

/** The writer outlives the API server: it goes on when the server is back. */
async function untilAnswered(write: () => Promise<void>): Promise<void> {
  for (let attempt = 1; attempt <= 100; attempt += 1) {
    try {
      await write();
      return;
    } catch (error) {
      if (isAlreadyExists(error)) return;
      const isUnavailable = error instanceof KubeError && error.status >= 429;
      if (!isUnanswered(error) && !isUnavailable) throw error;
      await systemClock.sleep(0.2);
    }
  }
  throw new Error("the API server did not come back");
}

/** Disturbs again and again while `action` runs. Returns how often. */
async function during(action: Promise<void>, disturb: () => Promise<void>): Promise<number> {
  const over = new AbortController();
  const disturbing = disturbUntil(over.signal, disturb);
  await action.finally(() => over.abort());
  return disturbing;
}

async function disturbUntil(over: AbortSignal, disturb: () => Promise<void>): Promise<number> {
  let times = 0;
  while (!over.aborted) {
    await disturb();
    times += 1;
  }
  return times;
}

describe(`reflector under faults (seed ${seed})`, () => {
  const random = seededRandom(seed);
  const stop = new AbortController();
  const metrics = createCountingMetrics();
  /** Version each key had in the store when it was last reconciled; undefined: it was gone. */
  const reconciled = new Map<string, string | undefined>();
  const disorders: string[] = [];
  const changedInFaults = new Set<string>();
  let changes = 0;
  let nextKey = 0;
  let stage: Stage;
  let proxy: FaultProxy;
  let client: KubeClient;
  let informer: Informer<Kept>;
  let controller: Controller;

  before(async () => {
    stage = await setStage();
    const proxied = await stage.throughProxy();
    ({ proxy } = proxied);
    client = clientOf(proxied.kubeconfig, "reflector-test");
    const namespaces = { group: "", version: "v1", plural: "namespaces", kind: "Namespace" };
    await stage.direct.create(
      { ...namespaces, namespaced: false },
      { metadata: { name: namespace } },
    );
    informer = createInformer({
      client,
      type: configMaps,
      namespace,
      clock: systemClock,
      logger: silentLogger,
      metrics,
      silentSeconds: 2,
      watchSeconds: 20,
      backoff: { baseSeconds: 0.05, maxSeconds: 1 },
    });
    controller = createController({
      name: "chaos",
      concurrency: 4,
      clock: systemClock,
      logger: silentLogger,
      reconcile: async (key) => {
        reconciled.set(key, informer.store.get(key)?.version);
        return done();
      },
    });
    const last = new Map<string, Kept>();
    informer.onChange(({ key, before, after }) => {
      if (before !== last.get(key)) disorders.push(`${key}: "before" is not the last "after"`);
      if (before && after && Number(after.version) <= Number(before.version)) {
        disorders.push(`${key}: ${after.version} came after ${before.version}`);
      }
      if (after) last.set(key, after);
      else last.delete(key);
      controller.enqueue(key);
    });
    informer.start(stop.signal);
    controller.start(stop.signal);
    await informer.whenSynced();
    await changeObjects(keys());
  });

  after(async () => {
    stop.abort();
    await informer?.stopped();
    await client?.close();
    await stage?.close();
  });

  /** Writes to each object once: most get a new value, some are deleted, deleted ones come back. */
  async function changeObjects(chosen: readonly string[]): Promise<void> {
    await inParallel(chosen, writers, async (key) => {
      changes += 1;
      await untilAnswered(() => changeOne(key, random() < 0.1));
    });
  }

  function nextKeys(): string[] {
    const all = keys();
    const chosen = Array.from(
      { length: objectsPerFault },
      (_, at) => all[(nextKey + at) % objects],
    );
    nextKey = (nextKey + objectsPerFault) % objects;
    const present = chosen.filter((key) => key !== undefined);
    for (const key of present) changedInFaults.add(key);
    return present;
  }

  async function changeOne(key: string, isDeletion: boolean): Promise<void> {
    const name = key.slice(namespace.length + 1);
    const data = { value: String(changes) };
    try {
      if (isDeletion) await stage.direct.delete(configMaps, key);
      else await stage.direct.patch(configMaps, key, { data });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const metadata = { name, namespace, labels: { chaos: "yes" } };
      await stage.direct.create(configMaps, { metadata, data });
    }
  }

  async function difference(): Promise<string | undefined> {
    const listed = await stage.direct.list(configMaps, { namespace, labelSelector: "chaos=yes" });
    const fresh = new Map(listed.map((item) => [keyOf(item), item.metadata.resourceVersion]));
    if (fresh.size !== informer.store.size) {
      return `${informer.store.size} objects in the store, ${fresh.size} at the server`;
    }
    for (const [key, version] of fresh) {
      if (informer.store.get(key)?.version !== version) return `${key} is not at ${version}`;
      if (reconciled.get(key) !== version) return `${key} was not reconciled at ${version}`;
    }
    const ghost = [...reconciled].find(
      ([key, version]) => version !== undefined && !fresh.has(key),
    );
    return ghost && `${ghost[0]} was not reconciled when it was deleted`;
  }

  async function expectConvergence(): Promise<void> {
    let problem: string | undefined;
    await eventually(
      convergeSeconds,
      async () => {
        problem = await difference();
        return problem === undefined;
      },
      () => `the store does not agree: ${problem}`,
    );
    expect(disorders).to.deep.equal([]);
  }

  async function compactEtcd(): Promise<void> {
    const ports = JSON.parse(await readFile(join(stage.cluster.directory, "ports.json"), "utf8"));
    const etcd = `http://127.0.0.1:${ports.etcdClient}/v3/kv`;
    const post = async (path: string, body: object): Promise<{ header: { revision: string } }> => {
      const options = { method: "POST", body: JSON.stringify(body) };
      const response = await fetch(`${etcd}/${path}`, {
        ...options,
        signal: AbortSignal.timeout(10_000),
      });
      expect(response.status).to.equal(200);
      return response.json() as Promise<{ header: { revision: string } }>;
    };
    const { header } = await post("range", { key: "AA==", range_end: "AA==", limit: 1 });
    await post("compaction", { revision: header.revision, physical: true });
  }

  const faults: Record<string, () => Promise<void>> = {
    "connections reset at random": async () => {
      let resets = 0;
      await during(changeObjects(nextKeys()), async () => {
        resets += proxy.reset(() => random() < 0.7);
        await systemClock.sleep(0.02 + 0.2 * random());
      });
      expect(resets).to.be.at.least(3);
    },
    "connections stalled": async () => {
      proxy.setMode({ kind: "stall" });
      await changeObjects(nextKeys());
      const accepted = proxy.accepted;
      await eventually(
        15,
        () => proxy.accepted > accepted,
        () => "the silent watch was not given up",
      );
      proxy.setMode({ kind: "pass" });
    },
    "connections half-closed": async () => {
      const times = await during(changeObjects(nextKeys()), async () => {
        proxy.halfClose();
        // The objects may be changed in half a second.
        await systemClock.sleep(0.02 + 0.1 * random());
      });
      expect(times).to.be.at.least(3);
    },
    "connections slowed": async () => {
      proxy.setMode({ kind: "slow", bytesPerSecond: 100_000 });
      await changeObjects(nextKeys());
      proxy.setMode({ kind: "pass" });
    },
    "the API server killed and started again": async () => {
      const changing = changeObjects(nextKeys());
      await stage.cluster.kill("kube-apiserver", "SIGKILL");
      await stage.cluster.restart("kube-apiserver");
      await changing;
    },
    "versions expired by compaction": async () => {
      const lists = metrics.total("reflector_lists_total");
      proxy.setMode({ kind: "cut" });
      await changeObjects(nextKeys());
      await compactEtcd();
      await stage.cluster.kill("kube-apiserver", "SIGKILL");
      await stage.cluster.restart("kube-apiserver");
      proxy.setMode({ kind: "pass" });
      await expectConvergence();
      expect(metrics.total("reflector_lists_total")).to.be.greaterThan(lists);
    },
  };

  it("holds what the server has", expectConvergence);

  for (const [name, fault] of Object.entries(faults)) {
    it(`recovers from ${name}`, async () => {
      await fault();
      await expectConvergence();
    });
  }

  it("saw every object change, each in order", () => {
    expect(changedInFaults.size).to.equal(objects);
    expect(disorders).to.deep.equal([]);
  });

  it("does not read the collection again for a broken connection", () => {
    // One at the start, one when versions had expired, and one for each restart of the API server, whose history is short.
    expect(metrics.total("reflector_lists_total")).to.be.at.most(4);
  });

  if (soakMinutes > 0) {
    it(`survives ${soakMinutes} minutes of faults in random order`, async () => {
      const endSeconds = systemClock.monotonicSeconds() + soakMinutes * 60;
      const choices = Object.values(faults);
      while (systemClock.monotonicSeconds() < endSeconds) {
        await choices[Math.floor(random() * choices.length)]?.();
        await expectConvergence();
      }
    });
  }
});
