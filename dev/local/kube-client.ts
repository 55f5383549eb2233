/** The project's own client for the cluster of a kubeconfig. */
import { delimiter } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { KubeClient } from "../../src/kube/client.ts";
import { credentialsFrom } from "../../src/kube/credentials.ts";
import { systemClock } from "../../src/runtime/clock.ts";

/** @param kubeconfig one file, or several joined as in the variable KUBECONFIG */
export const clientFor = (kubeconfig: string): KubeClient =>
  new KubeClient({
    credentials: credentialsFrom(() => loadKubeconfig(kubeconfig)),
    clock: systemClock,
    name: "rota-install",
  });

export const filesOf = (kubeconfig: string): string[] =>
  kubeconfig.split(delimiter).filter((name) => name !== "");

export function loadKubeconfig(kubeconfig: string): KubeConfig {
  const [first, ...others] = filesOf(kubeconfig);
  if (first === undefined) throw new Error("no kubeconfig is named");
  const config = new KubeConfig();
  config.loadFromFile(first);
  for (const file of others) {
    const other = new KubeConfig();
    other.loadFromFile(file);
    config.mergeConfig(other, true);
  }
  return config;
}
