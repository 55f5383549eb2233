/**
 * Evicts a gang as a whole, as PodDisruptionBudgets allow. A budget that blocks after the decision delays the eviction.
 */
import { markEvicted, cancelEviction } from "../../db/jobs/preempt.ts";
import { jobs, type Pod } from "../../resources/types.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import { requeueAfter } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { notify } from "../report.ts";
import { rowChanged } from "./context.ts";
import type { JobReconcile } from "./context.ts";
import {
  budgetAgainst,
  budgetText,
  evictPods,
  podsOccupyingNow,
  stopPods,
  expectationSeconds,
  withFreshPods,
} from "./pods.ts";
import type { EvictionProgress } from "./pods.ts";
import { evictionText } from "./status.ts";
import { whileLeaving } from "./leaving.ts";
import { allAre, isLost, ofAttempt } from "./gang.ts";

/** The result of one step. */
export interface Progress {
  readonly result: Settled;
  /** What blocks the eviction: a PodDisruptionBudget, or the API server's answer. */
  readonly blockedBy?: string;
}

const blockedBackoff = { baseSeconds: 2, maxSeconds: 30 };

/** How long to wait for a budget that blocks only briefly. */
const closePatienceSeconds = 10;

/** Seconds until the next try: the pauses double with the age of the eviction, up to the maximum, with jitter. */
export function blockedSeconds(ageSeconds: number, random: () => number = Math.random): number {
  const doublings = Math.log2(Math.max(0, ageSeconds) / blockedBackoff.baseSeconds + 1);
  return backoffSeconds(1 + Math.floor(doublings), { ...blockedBackoff, random });
}

/** No pod of the gang has terminated or is terminating. */
const isUntouched = (gang: JobReconcile): boolean => allAre(gang, (pod) => !isLost(pod));

/** A budget has delayed the eviction of a job that borrows, or past its window, for as long as it may. */
const isPastBudgets = ({ view }: JobReconcile): boolean =>
  (view.eviction?.pastBudget ?? null) !== null;

async function deletePods(gang: JobReconcile, pods: readonly Pod[]): Promise<EvictionProgress> {
  const holding = await stopPods(gang, pods);
  return { holding, rejected: undefined, isRefused: false, left: holding };
}

/**
 * A budget that allows only some of the pods would break the gang. The whole gang is checked first, and stays if a
 * budget blocks any pod. The single pod of a gang of one is evicted without a check. Past its budgets the gang's pods are
 * deleted where nothing but budgets keeps them from being evicted.
 */
async function askToLeave(gang: JobReconcile): Promise<EvictionProgress> {
  const { context, job } = gang;
  const pods = ofAttempt(gang);
  const isPast = isPastBudgets(gang);
  if (!isPast && job.spec.parallelism > 1 && isUntouched(gang)) {
    const rejected = await budgetAgainst(gang);
    if (rejected !== undefined) {
      context.counters.evictionAsked("refused");
      return { holding: pods.length, rejected: budgetText(rejected), isRefused: false, left: 0 };
    }
  }
  const progress = await evictPods(gang, pods);
  const isOnlyBudgets = progress.rejected !== undefined && !progress.isRefused;
  return isPast && isOnlyBudgets ? deletePods(gang, pods) : progress;
}

const isUp = (gang: JobReconcile): boolean =>
  allAre(gang, (pod) => !isLost(pod) && pod.phase !== "Pending");

/** Cancels the eviction if all pods are still up: the job continues in the same attempt. */
async function spare(gang: JobReconcile, note: string): Promise<boolean> {
  const { context, job, view } = gang;
  if (!isUp(gang) || !isUp(await withFreshPods(gang))) return false;
  if (!(await cancelEviction(context.db, { id: view.id, attempt: view.attempt }))) return false;
  notify(context, jobs, job, {
    type: "Normal",
    reason: "EvictionCancelled",
    action: "Spare",
    note,
  });
  context.scheduler.wake(view.pool);
  return true;
}

/** Cancels an eviction whose capacity is no longer needed. */
const cancelUnneeded = async (gang: JobReconcile): Promise<boolean> =>
  gang.view.eviction?.isSettled === true &&
  spare(gang, "eviction cancelled: the capacity is no longer needed");

/** Cancels an eviction by a closing window while a budget blocks it: the next cycle tries again and reports it. */
async function cancelCloseEviction(gang: JobReconcile, blockedBy: string): Promise<boolean> {
  const { isForWindow = false, ageSeconds = 0 } = gang.view.eviction ?? {};
  if (!isForWindow || ageSeconds < closePatienceSeconds) return false;
  return spare(gang, `eviction cancelled: blocked by ${blockedBy}`);
}

async function endEviction(gang: JobReconcile): Promise<Settled> {
  const { context, view } = gang;
  if ((await podsOccupyingNow(gang)).length > 0) return requeueAfter(expectationSeconds);
  context.checkpoint("before-evicted");
  if (!(await markEvicted(context.db, { id: view.id, attempt: view.attempt }))) return rowChanged;
  const note = evictionText(view) ?? "preempted by another job";
  const reason = view.reason ?? "Preempted";
  notify(context, jobs, gang.job, { type: "Warning", reason, action: "Evict", note });
  context.scheduler.wake(view.pool);
  return rowChanged;
}

/** Evicts the pods, or cancels the eviction if it is no longer needed. Call it for jobs in state evicting. */
export async function evict(gang: JobReconcile): Promise<Progress> {
  const { context, view } = gang;
  if (await cancelUnneeded(gang)) return { result: rowChanged };
  context.checkpoint("before-eviction");
  const { holding, rejected, left } = await askToLeave(gang);
  if (rejected !== undefined) {
    context.logger.warn("eviction blocked", { job: view.name, rejected });
    // It was blocked after some pods were evicted: the rest of the gang is useless, so stop it.
    const isBroken = left > 0 || !(isUntouched(gang) || isUntouched(await withFreshPods(gang)));
    if (isBroken) {
      await stopPods(gang, ofAttempt(gang));
      return { result: requeueAfter(expectationSeconds) };
    }
    if (await cancelCloseEviction(gang, rejected)) return { result: rowChanged };
    return {
      result: requeueAfter(blockedSeconds(view.eviction?.ageSeconds ?? 0)),
      blockedBy: rejected,
    };
  }
  context.checkpoint("after-eviction");
  const result = holding > 0 ? whileLeaving(gang, view) : endEviction(gang);
  return { result: await result };
}
