/**
 * Pods that do not terminate because their node does not respond or a finalizer holds them. Their capacity stays in
 * use, since they may still run. They are reported.
 */
import { listedUpTo } from "../../domain/text.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import type { Context } from "../context.ts";

export interface StuckPods {
  readonly message: string | undefined;
  /** Seconds until the next terminating pod counts as stuck; undefined if none is terminating. */
  readonly nextSeconds: number | undefined;
}

const maxNamedPods = 3;

const isLeaving = (pod: Pod): boolean => pod.leavesAt !== "" && !hasEnded(pod);

/** Negative if the pod does not count as stuck yet. */
const overdueSeconds = (pod: Pod, now: Temporal.Instant, stuckPodSeconds: number): number =>
  now.since(Temporal.Instant.from(pod.leavesAt)).total("seconds") - stuckPodSeconds;

/** The message about stuck pods, and when to check next. */
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

/** Registers the gauge; call it once. */
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
