/**
 * A job on its way out. Its gang leaves whole, and as PodDisruptionBudgets allow: one that closes after the decision
 * holds the eviction up.
 */
import { markEvicted, cancelEviction } from "../../db/jobs/preempt.ts";
import { jobs } from "../../resources/types.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import { requeueAfter, done } from "../../runtime/result.ts";
import type { Settled } from "../../runtime/result.ts";
import { notify } from "../report.ts";
import { rowChanged } from "./context.ts";
import type { JobReconcile } from "./context.ts";
import {
  budgetAgainst,
  evictPods,
  podsOccupyingNow,
  stopPods,
  expectationSeconds,
  withFreshPods,
} from "./pods.ts";
import type { EvictionProgress } from "./pods.ts";
import { evictionText } from "./status.ts";
import { allAre, isLost, ofAttempt } from "./gang.ts";

/** What came of a step. */
export interface Progress {
  readonly result: Settled;
  /** The PodDisruptionBudget, namespace/name, that holds the job's eviction up. */
  readonly blockedBy?: string;
}

const blockedBackoff = { baseSeconds: 2, maxSeconds: 30 };

/** A budget that is closed for a moment is waited for. */
const closePatienceSeconds = 10;

/** The longer it has been held up, the longer until it is asked for again: the pauses double, up to the longest. */
export function blockedSeconds(ageSeconds: number, random: () => number = Math.random): number {
  const doublings = Math.log2(Math.max(0, ageSeconds) / blockedBackoff.baseSeconds + 1);
  return backoffSeconds(1 + Math.floor(doublings), { ...blockedBackoff, random });
}

/** No pod of the gang has left, or was asked to. */
const isUntouched = (gang: JobReconcile): boolean => allAre(gang, (pod) => !isLost(pod));

/**
 * A budget that lets only a part of the gang go would break it: asked first, it keeps the whole gang. Pods of gangs of
 * one are simply asked to leave.
 */
async function askToLeave(gang: JobReconcile): Promise<EvictionProgress> {
  const { context, job } = gang;
  const pods = ofAttempt(gang);
  if (job.spec.parallelism > 1 && isUntouched(gang)) {
    const rejected = await budgetAgainst(gang);
    if (rejected !== undefined) {
      context.counters.evictionAsked("refused");
      return { holding: pods.length, rejected, left: 0 };
    }
  }
  return evictPods(gang, pods);
}

const isUp = (gang: JobReconcile): boolean =>
  allAre(gang, (pod) => !isLost(pod) && pod.phase !== "Pending");

/** It runs on in the same attempt, if it has lost nothing. */
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

/** To evict it would be for nothing. */
const cancelUnneeded = async (gang: JobReconcile): Promise<boolean> =>
  gang.view.eviction?.isSettled === true &&
  spare(gang, "eviction cancelled: the capacity is no longer needed");

/** Whoever a window evicts stays as long as a budget protects it: the next cycle asks again, and says so. */
async function cancelCloseEviction(gang: JobReconcile, budget: string): Promise<boolean> {
  const { isForWindow = false, ageSeconds = 0 } = gang.view.eviction ?? {};
  if (!isForWindow || ageSeconds < closePatienceSeconds) return false;
  return spare(gang, `eviction cancelled: blocked by PodDisruptionBudget ${budget}`);
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

export async function evict(gang: JobReconcile): Promise<Progress> {
  const { context, view } = gang;
  if (await cancelUnneeded(gang)) return { result: rowChanged };
  context.checkpoint("before-eviction");
  const { holding, rejected, left } = await askToLeave(gang);
  if (rejected !== undefined) {
    context.logger.warn("eviction blocked by a PodDisruptionBudget", { job: view.name, rejected });
    // The budget has closed in the midst of it: what is left of a gang is of no use to anybody.
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
  return { result: holding > 0 ? done() : await endEviction(gang) };
}
