/**
 * A job on its way out. Its gang leaves whole, and as PodDisruptionBudgets allow: one that closes after the decision
 * holds the eviction up.
 */
import { markEvicted, spareVictim } from "../../db/preemptions.ts";
import { jobs } from "../../resources/types.ts";
import { backoffSeconds } from "../../runtime/backoff.ts";
import { again, done } from "../../runtime/reconcile.ts";
import type { ReconcileResult } from "../../runtime/reconcile.ts";
import { notify } from "../status.ts";
import { budgetAgainst, evictPods, holdingNow, stopPods, unseenPodsSeconds } from "./pods.ts";
import type { EvictionProgress } from "./pods.ts";
import { evictionText } from "./status.ts";
import { allAre, asItIs, isLost, keyOfJob, ofAttempt, type Step } from "./step.ts";

/** What came of a step. */
export interface Progress {
  readonly result: ReconcileResult;
  /** The PodDisruptionBudget, namespace/name, that holds the job's eviction up. */
  readonly heldUpBy?: string;
}

const heldUpBackoff = { baseSeconds: 2, maxSeconds: 30 };

/** A budget that is closed for a moment is waited for. */
const closePatienceSeconds = 10;

/** The longer it has been held up, the longer until it is asked for again: the pauses double, up to the longest. */
export function heldUpSeconds(ageSeconds: number, random: () => number = Math.random): number {
  const doublings = Math.log2(Math.max(0, ageSeconds) / heldUpBackoff.baseSeconds + 1);
  return backoffSeconds(1 + Math.floor(doublings), { ...heldUpBackoff, random });
}

/** No pod of the gang has left, or was asked to. */
const isUntouched = (step: Step): boolean => allAre(step, (pod) => !isLost(pod));

/**
 * A budget that lets only a part of the gang go would break it: asked first, it keeps the whole gang. Pods of gangs of
 * one are simply asked to leave.
 */
async function askToLeave(step: Step): Promise<EvictionProgress> {
  const { context, job, view, signal } = step;
  const pods = ofAttempt(step);
  if (job.spec.parallelism > 1 && isUntouched(step)) {
    const refused = await budgetAgainst(context, view.id, keyOfJob(step), signal);
    if (refused !== undefined) {
      context.counters.evictionAsked("refused");
      return { holding: pods.length, refused, left: 0 };
    }
  }
  return evictPods(context, pods, signal);
}

const isUp = (step: Step): boolean =>
  allAre(step, (pod) => !isLost(pod) && pod.phase !== "Pending");

/** It runs on in the same attempt, if it has lost nothing. */
async function spare(step: Step, note: string): Promise<boolean> {
  const { context, job, view } = step;
  if (!isUp(step) || !isUp(await asItIs(step))) return false;
  if (!(await spareVictim(context.db, { id: view.id, attempt: view.attempt }))) return false;
  notify(context, jobs, job, { type: "Normal", reason: "Spared", action: "Spare", note });
  context.scheduler.wake(view.pool);
  return true;
}

/** To evict it would be for nothing. */
const spareForNobody = async (step: Step): Promise<boolean> =>
  step.view.eviction?.isSettled === true &&
  spare(step, "nobody needs its room any more, and none of its pods had left: it runs on");

/** Whoever a window evicts stays as long as a budget protects it: the next cycle asks again, and says so. */
async function spareFromClose(step: Step, budget: string): Promise<boolean> {
  const { isForWindow = false, ageSeconds = 0 } = step.view.eviction ?? {};
  if (!isForWindow || ageSeconds < closePatienceSeconds) return false;
  return spare(step, `PodDisruptionBudget ${budget} does not let it go: it runs on for now`);
}

async function endEviction(step: Step): Promise<ReconcileResult> {
  const { context, view, signal } = step;
  if ((await holdingNow(context, keyOfJob(step), view.id, signal)).length > 0)
    return again(unseenPodsSeconds);
  context.checkpoint("before-evicted");
  if (!(await markEvicted(context.db, { id: view.id, attempt: view.attempt }))) return again(0);
  const note = evictionText(view) ?? "makes way for another job";
  const reason = view.reason ?? "Preempted";
  notify(context, jobs, step.job, { type: "Warning", reason, action: "Evict", note });
  context.scheduler.wake(view.pool);
  return again(0);
}

export async function evict(step: Step): Promise<Progress> {
  const { context, view } = step;
  if (await spareForNobody(step)) return { result: again(0) };
  context.checkpoint("before-eviction");
  const { holding, refused, left } = await askToLeave(step);
  if (refused !== undefined) {
    context.logger.warn("a disruption budget holds an eviction up", { job: view.name, refused });
    // The budget has closed in the midst of it: what is left of a gang is of no use to anybody.
    const isBroken = left > 0 || !(isUntouched(step) || isUntouched(await asItIs(step)));
    if (isBroken) {
      await stopPods(context, ofAttempt(step), step.signal);
      return { result: again(unseenPodsSeconds) };
    }
    if (await spareFromClose(step, refused)) return { result: again(0) };
    return { result: again(heldUpSeconds(view.eviction?.ageSeconds ?? 0)), heldUpBy: refused };
  }
  context.checkpoint("after-eviction");
  return { result: holding > 0 ? done() : await endEviction(step) };
}
