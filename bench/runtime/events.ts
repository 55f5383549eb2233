/** events.ts OBJECTS EVENTS: events through watch, decoding, store, work queue and a no-op reconcile. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { KubeClient } from "../../src/kube/client.ts";
import { createInformer } from "../../src/kube/reflector.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { createController } from "../../src/runtime/controller.ts";
import { done } from "../../src/runtime/result.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { report, stopwatch } from "./child.ts";
import { keptJobs } from "./objects.ts";

const [objects = "0", wanted = "0"] = process.argv.slice(2);
const events = Number(wanted);
const source = spawn(
  process.execPath,
  [join(import.meta.dirname, "event-source.ts"), objects, wanted],
  { stdio: ["ignore", "pipe", "inherit"] },
);
process.on("exit", () => source.kill("SIGKILL"));
const [line]: Buffer[] = await once(source.stdout, "data");
const server = new URL(`http://127.0.0.1:${String(line).trim()}`);

const client = new KubeClient({
  credentials: {
    server,
    proxyUrl: undefined,
    read: async () => ({ headers: {}, tls: {}, fingerprint: "none" }),
  },
  clock: systemClock,
  name: "bench",
});
const { signal } = new AbortController();
const informer = createInformer({
  client,
  type: keptJobs,
  clock: systemClock,
  logger: silentLogger,
});
let reconciles = 0;
const controller = createController({
  name: "bench",
  concurrency: 8,
  clock: systemClock,
  logger: silentLogger,
  reconcile: async () => {
    reconciles += 1;
    return done();
  },
});
informer.onChange(({ key }) => controller.enqueue(key));
informer.start(signal);
await informer.whenSynced();
controller.start(signal);
while (reconciles < Number(objects)) await systemClock.sleep(0.05);

reconciles = 0;
let seen = 0;
const all = Promise.withResolvers<void>();
informer.onChange(() => {
  seen += 1;
  if (seen === events) all.resolve();
});
const stop = stopwatch();
await client.raw("GET", "/go");
await all.promise;
while (controller.queue.depth + controller.queue.working > 0) await systemClock.sleep(0.001);
const { seconds, cpuSeconds } = stop();
report({
  eventsPerSecond: events / seconds,
  eventsPerCpuSecond: events / cpuSeconds,
  reconciles,
});
