/**
 * When a ResourceQuota gets room, the pools whose jobs it holds back decide again, and jobs that it kept out of the
 * queue are judged again.
 *
 * Jobs whose pods it refused all the same pause longer and longer. Then some of them start at once; each that starts
 * lets the next one try, so that a quota with much room is used within seconds, and one without causes few refused
 * starts, however many jobs pause.
 */
import { endQuotaPauses } from "../../db/jobs/attempts.ts";
import { byAge } from "../../resources/meta.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Job, Pod, StoredQuota } from "../../resources/types.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import type { Change } from "../../runtime/informer.ts";
import { done } from "../../runtime/result.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";
import { priorityClassOf } from "../references.ts";
import { wasQueued } from "./observed-state.ts";

/** Starts that are tried at once. */
const jobsAtOnce = 3;

/** Pure: whether the quota has more room than before, for anything or anybody; a deleted one limits nothing. */
export function hasMoreRoom({ before, after }: Change<StoredQuota>): boolean {
  if (before === undefined || after === undefined) return after === undefined;
  if (JSON.stringify(before.selectors) !== JSON.stringify(after.selectors)) return true;
  const limits = Object.entries(before.hard);
  return limits.some(([name, limit]) => {
    const { [name]: limitNow } = after.hard;
    if (limitNow === undefined) return true;
    const used = before.used[name] ?? 0n;
    return limitNow - (after.used[name] ?? 0n) > limit - used;
  });
}

type Watching = Pick<Context, "informers" | "queues" | "scheduler">;

const countOf = (pod: Pod | undefined): "absent" | "counted" | "leaving" => {
  if (pod === undefined) return "absent";
  return pod.deleting || hasEnded(pod) ? "leaving" : "counted";
};

/**
 * The quota's own change may have come before the pod's: until then a new pod counted twice, and one that has ended
 * still counted.
 */
function onPodChange({ informers, scheduler }: Watching, { before, after }: Change<Pod>): void {
  const pod = after ?? before;
  if (pod === undefined || pod.jobKey === "" || countOf(before) === countOf(after)) return;
  const { namespace } = pod;
  const { store } = informers.resourceQuotas;
  if (store.byIndex(indices.quotasByNamespace, namespace).length > 0)
    scheduler.wakeForQuota(namespace);
}

/** Registers the handlers; call it once. */
export function watchQuotas(context: Watching): void {
  const { informers, queues, scheduler } = context;
  informers.resourceQuotas.onChange((change) => {
    const namespace = (change.after ?? change.before)?.namespace;
    if (namespace === undefined || !hasMoreRoom(change)) return;
    scheduler.wakeForQuota(namespace);
    queues.resourceQuotas.add(namespace);
  });
  informers.pods.onChange((change) => onPodChange(context, change));
}

/**
 * Enqueues the jobs of a namespace of which not even one pod passed, so that they are not queued yet: in the order of
 * the queue, since the first ones take the room.
 */
function enqueueHeldBack(context: Context, namespace: string): void {
  const { informers, queues } = context;
  const priorityOf = (job: Job): number => priorityClassOf(context, job)?.value ?? 0;
  const heldBack = informers.jobs.store
    .byIndex(indices.jobsByNamespace, namespace)
    .filter((job) => !wasQueued(job) && job.status.state !== "Rejected")
    .toSorted((one, other) => priorityOf(other) - priorityOf(one) || byAge(one, other));
  for (const { name } of heldBack) queues.jobs.add(`${namespace}/${name}`);
}

/** Lets jobs of a namespace try again. */
export const relieveQuotaPauses = (context: Context): Reconcile => {
  const { db, scheduler } = context;
  return async (namespace) => {
    enqueueHeldBack(context, namespace);
    const pools = await endQuotaPauses(db, namespace, jobsAtOnce);
    for (const pool of new Set(pools)) scheduler.wake(pool);
    return done();
  };
};
