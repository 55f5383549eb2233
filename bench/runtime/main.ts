/**
 * `npm run bench -- runtime [--objects=50000] [--patches=10000] [--events=50000]`: what holding a big cluster costs, beside
 * client-node. Every measurement is a process of its own, against a real control plane; only the event rate comes from a
 * stand-in, since an API server on the same machine would be the bottleneck. Writes .local/bench/runtime.json.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
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
    patches: { type: "string", default: "10000" },
    events: { type: "string", default: "50000" },
  },
});

type Results = Record<string, Figures>;

async function measureOn(kubeconfig: string, folder: string): Promise<Results> {
  const results: Results = {};
  const add = async (name: string, script: string, ...args: string[]): Promise<void> => {
    console.error(`measuring: ${name} ...`);
    results[name] = await measure(await bundle(script, folder), args);
  };
  await add("hold, WatchList", "hold.ts", kubeconfig, values.objects, "watch-list");
  await add("hold, pages", "hold.ts", kubeconfig, values.objects, "pages");
  await add("hold, client-node", "hold-client-node.ts", kubeconfig, values.objects);
  const fewer = String(Math.ceil(Number(values.patches) / 4));
  await add("patch", "patch.ts", kubeconfig, fewer, "rota");
  await add("patch, client-node", "patch.ts", kubeconfig, fewer, "client-node");
  const target = await startPatchTarget(kubeconfig, folder);
  try {
    await add("patch a fast server", "patch.ts", target.kubeconfig, values.patches, "rota");
    await add(
      "patch a fast server, client-node",
      "patch.ts",
      target.kubeconfig,
      fewer,
      "client-node",
    );
  } finally {
    target.process.kill("SIGKILL");
  }
  return results;
}

/** A server with the API server's certificates that does nothing, and the kubeconfig that leads to it. */
async function startPatchTarget(
  kubeconfig: string,
  folder: string,
): Promise<{ process: ChildProcess; kubeconfig: string }> {
  const certificates = join(folder, "cluster", "certificates");
  const files = ["apiserver.key", "apiserver.crt", "ca.crt"].map((name) =>
    join(certificates, name),
  );
  const process = spawn(execPath, [join(import.meta.dirname, "patch-target.ts"), ...files], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [port]: Buffer[] = await once(process.stdout, "data");
  const text = await readFile(kubeconfig, "utf8");
  const server = `https://127.0.0.1:${String(port).trim()}`;
  const path = join(folder, "kubeconfig-patch-target");
  await writeFile(path, text.replace(/https:\/\/127\.0\.0\.1:\d+/, server), { mode: 0o600 });
  return { process, kubeconfig: path };
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
