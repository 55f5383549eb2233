/** What the runtime's end-to-end tests share: a control plane, clients through a fault proxy, a seeded random. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cluster } from "../../../dev/local/cluster.ts";
import { startCluster } from "../../../dev/local/cluster.ts";
import { KubeClient } from "../../../src/kube/client.ts";
import { loadCredentialsFromFile } from "../../../src/kube/credentials.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { startFaultProxy } from "../../support/fault-proxy.ts";
import type { FaultProxy } from "../../support/fault-proxy.ts";

export interface Stage {
  readonly cluster: Cluster;
  readonly directory: string;
  /** Straight to the API server. */
  readonly direct: KubeClient;
  /** A kubeconfig and a proxy of its own on the way to the API server. */
  throughProxy(): Promise<{ readonly proxy: FaultProxy; readonly kubeconfig: string }>;
  close(): Promise<void>;
}

export const clientOf = (kubeconfig: string, name: string): KubeClient =>
  new KubeClient({ credentials: loadCredentialsFromFile(kubeconfig), clock: systemClock, name });

export async function setStage(): Promise<Stage> {
  const directory = await mkdtemp(join(tmpdir(), "rota-runtime-"));
  const cluster = await startCluster({ directory: join(directory, "cluster"), nodes: 1 });
  const direct = clientOf(cluster.kubeconfig, "test");
  const proxies: FaultProxy[] = [];
  return {
    cluster,
    directory,
    direct,
    throughProxy: async () => {
      const proxy = await startFaultProxy(Number(new URL(cluster.server).port));
      proxies.push(proxy);
      const kubeconfig = join(directory, `kubeconfig-${proxy.port}`);
      const text = await readFile(cluster.kubeconfig, "utf8");
      const proxied = text.replaceAll(cluster.server, `https://127.0.0.1:${proxy.port}`);
      await writeFile(kubeconfig, proxied, { mode: 0o600 });
      return { proxy, kubeconfig };
    },
    close: async () => {
      await direct.close();
      for (const proxy of proxies) await proxy.close();
      await cluster.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A number in [0, 1) from a seed (mulberry32), so that a failing run can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Polls until `condition` holds; fails with what `describe` says after `seconds`. */
export async function eventually(
  seconds: number,
  condition: () => boolean | Promise<boolean>,
  describe: () => string,
): Promise<void> {
  const deadlineSeconds = systemClock.monotonicSeconds() + seconds;
  while (!(await condition())) {
    if (systemClock.monotonicSeconds() > deadlineSeconds) throw new Error(describe());
    await systemClock.sleep(0.1);
  }
}

/** Runs `action` on every item, `limit` at a time. */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  action: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const worker = async (): Promise<void> => {
    for (const item of queue) await action(item);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
