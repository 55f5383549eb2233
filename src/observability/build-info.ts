/** Which build this is: a gauge of 1 with the versions as labels. */
import type { Metrics } from "../runtime/metrics.ts";

export function buildInfo(metrics: Metrics, version: string): void {
  metrics
    .gauge({
      name: "build_info",
      help: "1, with the versions of the operator and of Node as labels",
      labelNames: ["version", "node"],
    })
    .set({ version, node: process.versions.node }, 1);
}
