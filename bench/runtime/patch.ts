/** patch.ts KUBECONFIG CALLS HOW: merge patches by 32 callers; HOW is rota or client-node. */
import {
  CustomObjectsApi,
  KubeConfig,
  PatchStrategy,
  setHeaderOptions,
} from "@kubernetes/client-node";
import { KubeClient } from "../../src/kube/client.ts";
import { loadCredentialsFromFile } from "../../src/kube/credentials.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { report, stopwatch } from "./child.ts";
import { benchJobs, benchNamespace } from "./objects.ts";

const [kubeconfig = "", wanted = "0", how = ""] = process.argv.slice(2);
const callers = 32;
/** Both clients are compiled by then; a cold one says more about V8 than about them. */
const warmUpCalls = 500;

function patchByRota(): (name: string, value: string) => Promise<unknown> {
  const client = new KubeClient({
    credentials: loadCredentialsFromFile(kubeconfig),
    clock: systemClock,
    name: "bench",
  });
  return (name, value) =>
    client.patch(benchJobs, `${benchNamespace}/${name}`, { metadata: { annotations: { value } } });
}

function patchByClientNode(): (name: string, value: string) => Promise<unknown> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(CustomObjectsApi);
  const { group, version, plural } = benchJobs;
  const options = setHeaderOptions("Content-Type", PatchStrategy.MergePatch);
  return (name, value) =>
    api.patchNamespacedCustomObject(
      {
        group,
        version,
        plural,
        namespace: benchNamespace,
        name,
        body: { metadata: { annotations: { value } } },
      },
      options,
    );
}

const patch = how === "client-node" ? patchByClientNode() : patchByRota();

async function run(calls: number, round: string): Promise<void> {
  const numbers = Array.from({ length: calls }, (_, index) => index).values();
  const caller = async (): Promise<void> => {
    for (const number of numbers) await patch(`job-${number % 500}`, `${round}-${number}`);
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

await run(warmUpCalls, "warm-up");
const calls = Number(wanted);
const stop = stopwatch();
await run(calls, String(Date.now()));
const { seconds, cpuSeconds } = stop();
report({
  callsPerSecond: calls / seconds,
  cpuMillisecondsPerCall: (1000 * cpuSeconds) / calls,
});
