/** hold.ts KUBECONFIG OBJECTS HOW: reads the whole collection and holds it; HOW is watch-list, pages or client-node. */
import { CustomObjectsApi, KubeConfig, makeInformer } from "@kubernetes/client-node";
import { KubeClient } from "../../src/kube/client.ts";
import { loadCredentialsFromFile } from "../../src/kube/credentials.ts";
import { createInformer } from "../../src/kube/reflector.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { createController, done } from "../../src/runtime/controller.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { resync } from "../../src/runtime/resync.ts";
import { memory, report, stopwatch } from "./child.ts";
import { benchJobs, benchNamespace, keptJobs } from "./objects.ts";

const [kubeconfig = "", wanted = "0", how = ""] = process.argv.slice(2);
const objects = Number(wanted);
const idleSeconds = 20;

/** Everything an operator has around a store, so that idle means what it means there. */
async function holdOurs(usesPages: boolean): Promise<() => number> {
  const client = new KubeClient({
    credentials: loadCredentialsFromFile(kubeconfig),
    clock: systemClock,
    name: "bench",
  });
  const informer = createInformer({
    client,
    watchList: !usesPages,
    type: keptJobs,
    clock: systemClock,
    logger: silentLogger,
  });
  const { signal } = new AbortController();
  const controller = createController({
    name: "bench",
    concurrency: 8,
    clock: systemClock,
    logger: silentLogger,
    reconcile: async () => done(),
  });
  informer.onChange(({ key }) => controller.enqueue(key));
  informer.start(signal);
  await informer.whenSynced();
  controller.start(signal);
  void resync({
    keys: () => informer.store.keys(),
    enqueue: (key, options) => controller.enqueue(key, options),
    periodSeconds: 3600,
    clock: systemClock,
    signal,
  });
  return () => informer.store.size;
}

async function holdClientNode(): Promise<() => number> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(CustomObjectsApi);
  const { group, version, plural } = benchJobs;
  const namespace = benchNamespace;
  const informer = makeInformer(
    config,
    `/apis/${group}/${version}/namespaces/${namespace}/${plural}`,
    () => api.listNamespacedCustomObject({ group, version, plural, namespace }),
  );
  await informer.start();
  return () => informer.list().length;
}

const stop = stopwatch();
const size = how === "client-node" ? await holdClientNode() : await holdOurs(how === "pages");
const sync = stop();
if (size() !== objects) throw new Error(`holds ${size()} objects, not ${objects}`);
await systemClock.sleep(3);
const { rssMegabytes, heapMegabytes } = memory();
const stopIdle = stopwatch();
await systemClock.sleep(idleSeconds);
const idle = stopIdle();
report({
  syncSeconds: sync.seconds,
  syncCpuSeconds: sync.cpuSeconds,
  rssMegabytes,
  heapMegabytes,
  idleCpuPercent: (100 * idle.cpuSeconds) / idle.seconds,
});
