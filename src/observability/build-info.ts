/** Build information as a gauge of 1 with the versions as labels. */
import type { Metrics } from "../runtime/metrics.ts";

/** Registers rota_build_info. */
export function buildInfo(metrics: Metrics, version: string): void {
  metrics
    .gauge({
      name: "build_info",
      help: "Always 1, with the versions of the operator and of Node.js as labels",
      labelNames: ["version", "node"],
    })
    .set({ version, node: process.versions.node }, 1);
}
