/** hold.ts KUBECONFIG OBJECTS HOW: reads the whole collection and holds it; HOW is watch-list or pages. */
import { KubeClient } from "../../src/kube/client.ts";
import { loadCredentialsFromFile } from "../../src/kube/credentials.ts";
import { createInformer } from "../../src/kube/reflector.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { createController } from "../../src/runtime/controller.ts";
import { done } from "../../src/runtime/result.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { resync } from "../../src/runtime/resync.ts";
import { reportHolding } from "./hold-report.ts";
import { keptJobs } from "./objects.ts";

const [kubeconfig = "", objects = "0", how = ""] = process.argv.slice(2);

/** Everything an operator has around a store, so that idle means what it means there. */
async function hold(): Promise<() => number> {
  const client = new KubeClient({
    credentials: loadCredentialsFromFile(kubeconfig),
    clock: systemClock,
    name: "bench",
  });
  const informer = createInformer({
    client,
    watchList: how === "watch-list",
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

await reportHolding(Number(objects), hold);
