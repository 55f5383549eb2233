/** How the control plane of a cluster treats nodes; kept in its folder, for components that are started again later. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface NodeMonitoring {
  /** Without a heartbeat for so long a node is NotReady; above the 10 s for which a kubelet renews its lease. */
  readonly gracePeriodSeconds: number;
  /** How often nodes are looked at. */
  readonly periodSeconds: number;
  /** Pods tolerate a node that is not ready or unreachable for so long, unless they say otherwise. */
  readonly tolerationSeconds: number;
}

export interface PlaneSettings {
  /** Real nodes join: they identify themselves, and KWOK leaves them alone. */
  readonly realNodes: boolean;
  /** Undefined: nodes send no heartbeats, and are ready until something else says otherwise. */
  readonly nodeMonitoring?: NodeMonitoring;
}

/** What Kubernetes does by itself. */
export const usualMonitoring: NodeMonitoring = {
  gracePeriodSeconds: 50,
  periodSeconds: 5,
  tolerationSeconds: 300,
};

const fileOf = (directory: string): string => join(directory, "settings.json");

export const writeSettings = (directory: string, settings: PlaneSettings): void =>
  writeFileSync(fileOf(directory), `${JSON.stringify(settings)}\n`);

export function readSettings(directory: string): PlaneSettings {
  const file = fileOf(directory);
  if (!existsSync(file)) return { realNodes: false };
  const settings: PlaneSettings = JSON.parse(readFileSync(file, "utf8"));
  return settings;
}
