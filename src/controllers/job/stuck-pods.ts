/**
 * Pods that should be gone and are not: their node does not answer, or a finalizer holds them. Their space stays in
 * use, since they may run; what can be done is to say so.
 */
import { listedUpTo } from "../../domain/text.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import type { Context } from "../context.ts";

export interface StuckPods {
  readonly message: string | undefined;
  /** When the next pod that is leaving becomes one; undefined when none is leaving. */
  readonly nextSeconds: number | undefined;
}

const maxNamedPods = 3;

const isLeaving = (pod: Pod): boolean => pod.leavesAt !== "" && !hasEnded(pod);

/** Negative before the pod counts as stuck. */
const overdueSeconds = (pod: Pod, now: Temporal.Instant, stuckPodSeconds: number): number =>
  now.since(Temporal.Instant.from(pod.leavesAt)).total("seconds") - stuckPodSeconds;

export function stuckPods(
  pods: readonly Pod[],
  now: Temporal.Instant,
  stuckPodSeconds: number,
): StuckPods {
  const leaving = pods
    .filter(isLeaving)
    .map((pod) => ({ pod, overdue: overdueSeconds(pod, now, stuckPodSeconds) }));
  const stuck = leaving.filter(({ overdue }) => overdue >= 0);
  const soon = leaving.filter(({ overdue }) => overdue < 0).map(({ overdue }) => -overdue);
  const named = stuck.map(
    ({ pod }) => `pod ${pod.name} on node ${pod.nodeName} (since ${pod.leavesAt})`,
  );
  return {
    message:
      stuck.length === 0
        ? undefined
        : `${listedUpTo(maxNamedPods, named)} did not terminate and still uses capacity: check the node, or delete the pod with --force`,
    nextSeconds: soon.length === 0 ? undefined : Math.min(...soon) + 0.05,
  };
}

/** Call it once. */
export function showStuckPods(
  { informers, clock, settings }: Pick<Context, "informers" | "clock" | "settings">,
  metrics: Metrics,
): void {
  metrics.gaugeFunction(
    {
      name: "pods_stuck_terminating",
      help: "Pods that have not terminated long after their grace period",
      labelNames: [],
    },
    () => {
      const now = clock.now();
      const stuck = [...informers.pods.store.values()].filter(
        (pod) =>
          pod.jobKey !== "" &&
          isLeaving(pod) &&
          overdueSeconds(pod, now, settings.stuckPodSeconds) >= 0,
      );
      return [{ labels: {}, value: stuck.length }];
    },
  );
}
