/**
 * `npm run bench -- runtime [--objects=50000] [--patches=4000] [--events=50000]`: what holding a big cluster costs, beside
 * client-node. Every measurement is a process of its own, against a real control plane; only the event rate comes from a
 * stand-in, since an API server on the same machine would be the bottleneck. Writes .local/bench/runtime.json.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import Table from "cli-table3";
import { startCluster } from "../../dev/local/cluster.ts";
import { KubeClient } from "../../src/kube/client.ts";
import { loadCredentialsFromFile } from "../../src/kube/credentials.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { bundle, measure } from "./child.ts";
import type { Figures } from "./child.ts";
import { createBenchJobs, defineBenchJobs } from "./objects.ts";

const { values } = parseArgs({
  options: {
    objects: { type: "string", default: "50000" },
    patches: { type: "string", default: "4000" },
    events: { type: "string", default: "50000" },
  },
});

type Results = Record<string, Figures>;

async function measureOn(kubeconfig: string, folder: string): Promise<Results> {
  const results: Results = {};
  const add = async (name: string, script: string, ...args: string[]): Promise<void> => {
    console.error(`measuring: ${name} ...`);
    results[name] = await measure(await bundle(script, folder), [kubeconfig, ...args]);
  };
  await add("hold, WatchList", "hold.ts", values.objects, "watch-list");
  await add("hold, pages", "hold.ts", values.objects, "pages");
  await add("hold, client-node", "hold-client-node.ts", values.objects);
  await add("patch", "patch.ts", values.patches, "rota");
  const fewer = String(Math.ceil(Number(values.patches) / 4));
  await add("patch, client-node", "patch.ts", fewer, "client-node");
  return results;
}

async function onCluster(): Promise<Results> {
  const directory = await mkdtemp(join(tmpdir(), "rota-bench-runtime-"));
  const cluster = await startCluster({ directory: join(directory, "cluster"), nodes: 1 });
  try {
    const client = new KubeClient({
      credentials: loadCredentialsFromFile(cluster.kubeconfig),
      clock: systemClock,
      name: "bench-setup",
    });
    console.error(`creating ${values.objects} objects ...`);
    await defineBenchJobs(client);
    await createBenchJobs(client, Number(values.objects));
    await client.close();
    return await measureOn(cluster.kubeconfig, directory);
  } finally {
    await cluster.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

function print(results: Results): void {
  const table = new Table({ head: ["measurement", "figure", "value"] });
  for (const [name, figures] of Object.entries(results)) {
    for (const [figure, value] of Object.entries(figures)) {
      table.push([name, figure, value.toLocaleString("en", { maximumSignificantDigits: 4 })]);
    }
  }
  console.log(table.toString());
}

async function save(results: Results): Promise<void> {
  const folder = join(import.meta.dirname, "..", "..", ".local", "bench");
  await mkdir(folder, { recursive: true });
  const machine = { cores: availableParallelism(), node: process.version };
  const content = { machine, settings: values, results };
  await writeFile(join(folder, "runtime.json"), `${JSON.stringify(content, null, 2)}\n`);
}

console.error("measuring: events ...");
const eventArguments = [String(Math.min(10_000, Number(values.objects))), values.events];
const events = await measure(join(import.meta.dirname, "events.ts"), eventArguments);
const results = { events, ...(await onCluster()) };
print(results);
await save(results);
