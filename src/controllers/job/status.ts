/** What a Job's status says, from its row, its pods and what the scheduler last said of it. Pure. */
import { ready, withCondition } from "../../api/conditions.ts";
import type { Condition } from "../../api/conditions.ts";
import { jobReasonOf, type JobReason } from "../../api/reasons.ts";
import type { JobStatus } from "../../api/generated.ts";
import { jobStates, type JobStatusName } from "../../api/job-states.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { sameProjectAs, redactJobs } from "../../domain/redaction.ts";
import { hasEnded, hasFinished } from "../../resources/types.ts";
import type { Job, Pod } from "../../resources/types.ts";
import type { Explanation } from "../../scheduler/wait-reasons/publisher.ts";
import type { Notice } from "../../scheduler/windows/notices.ts";
import { isLiveStatus } from "./observed-state.ts";
import type { Rejection } from "./rejection.ts";

interface StatusText {
  readonly reason: JobReason;
  readonly message: string;
}

const fixedTexts: Readonly<Partial<Record<JobStatusName, StatusText>>> = {
  starting: { reason: "Admitted", message: "the pods are being created" },
  succeeded: { reason: "Completed", message: "all pods ended well" },
};

/** After a failure the job is left out of the queue for a while, and says what it failed of. */
function backOffText({ notBefore, reason, message }: JobView): StatusText | undefined {
  if (notBefore === undefined) return undefined;
  const at = notBefore.round("second").toString();
  return { reason: reason ?? "Queued", message: `${message ?? "failed"}; tried again at ${at}` };
}

/** Why the job is or was evicted, as everybody may read who may see it; undefined when it is not. */
export function evictionText({ eviction, namespace }: JobView): string | undefined {
  if (eviction === undefined) return undefined;
  return redactJobs(sameProjectAs(`${namespace}/`), eviction.reason, eviction.jobs);
}

function waitingText(view: JobView, explanation: Explanation | undefined): StatusText {
  if (view.suspended)
    return { reason: "Suspended", message: "spec.suspend is true: it waits until that is false" };
  const waits = explanation ??
    backOffText(view) ?? { reason: "Queued", message: "waits for the next scheduling cycle" };
  const eviction = evictionText(view);
  if (view.status !== "evicted" || eviction === undefined) return waits;
  return { reason: waits.reason, message: `evicted: ${eviction}; ${waits.message}` };
}

/** Why the attempt ends, while its pods still leave. */
function endingText({ ending }: JobView): StatusText | undefined {
  const reason = ending && jobReasonOf(ending.reason);
  return reason && { reason, message: `${ending?.message ?? ""}; its pods are being stopped` };
}

/** Whom it makes way for, and what keeps its pods from leaving. */
function evictingText(view: JobView, blockedBy: string | undefined): StatusText {
  const message = evictionText(view) ?? "makes way for another job";
  if (blockedBy === undefined) return { reason: "Evicting", message };
  return {
    reason: "EvictionBlocked",
    message: `${message}; held up by PodDisruptionBudget ${blockedBy}, and asked for again until it allows`,
  };
}

function statusTextOf(
  view: JobView,
  { explanation, pendingPodsOf, blockedBy }: Remarks,
): StatusText {
  const { status } = view;
  if (status === "pending" || status === "evicted") return waitingText(view, explanation);
  const ending = status === "starting" || status === "running" ? endingText(view) : undefined;
  if (ending) return ending;
  if (pendingPodsOf !== undefined) return { reason: "PodsPending", message: pendingPodsOf };
  const fixed = fixedTexts[status];
  if (fixed) return fixed;
  if (status === "running") {
    return view.borrowing
      ? {
          reason: "Borrowing",
          message: "runs on capacity outside its plans and can be evicted for entitled jobs",
        }
      : { reason: "WithinQuota", message: "runs inside its plans" };
  }
  if (status === "reserved") {
    return {
      reason: "WaitingForPreemption",
      message: `capacity is kept on ${nodesOf(view).join(", ")} while its victims leave`,
    };
  }
  if (status === "evicting") return evictingText(view, blockedBy);
  return {
    reason: view.reason ?? (status === "failed" ? "Failed" : "Cancelled"),
    message: view.message ?? "",
  };
}

const maxNamedNodes = 3;

/** While a node is not heard its pods are shown as they were when it was. */
function withNodes(words: StatusText, view: JobView, { unreadyNodes }: Remarks): StatusText {
  if (unreadyNodes.length === 0 || !isLiveStatus(view.status)) return words;
  const more = unreadyNodes.length - maxNamedNodes;
  const named = unreadyNodes.slice(0, maxNamedNodes).join(", ");
  const names = more > 0 ? `${named} and ${more} more` : named;
  const are = unreadyNodes.length === 1 ? `node ${names} is` : `nodes ${names} are`;
  return { ...words, message: `${words.message}; ${are} not ready, its pods there may not run` };
}

const nodesOf = (view: JobView): string[] => view.placements.map(({ node }) => node);

/** Pods of a starting gang that are still to be made count as active: each of them would be a write else. */
const activePods = (view: JobView, pods: readonly Pod[]): number =>
  view.status === "starting"
    ? view.parallelism - new Set(pods.filter(hasEnded).map(({ index }) => index)).size
    : pods.filter((pod) => !hasEnded(pod)).length;

/** Pods of an ended job may have been deleted since they were counted. */
const retainCounts = (
  { status }: Job,
  view: JobView,
  counts: NonNullable<JobStatus["pods"]>,
): NonNullable<JobStatus["pods"]> => {
  if (view.finishedAt === undefined) return counts;
  const former = status.attempt === view.attempt ? status.pods : undefined;
  const most = (one: number | undefined, other: number | undefined): number =>
    Math.max(one ?? 0, other ?? 0);
  return {
    ...counts,
    succeeded:
      view.status === "succeeded" ? view.parallelism : most(former?.succeeded, counts.succeeded),
    failed: most(former?.failed, counts.failed),
  };
};

const podCounts = (
  view: JobView,
  pods: readonly Pod[],
  completed: readonly number[],
): NonNullable<JobStatus["pods"]> => ({
  active: activePods(view, pods),
  ready: pods.filter((pod) => pod.ready && !hasEnded(pod)).length,
  succeeded: new Set([...completed, ...pods.filter(hasFinished).map(({ index }) => index)]).size,
  failed: pods.filter((pod) => pod.phase === "Failed").length,
});

const isUp = (status: JobStatusName): boolean => status === "running" || status === "succeeded";
const isWaiting = (status: JobStatusName): boolean => status === "pending" || status === "evicted";

function conditionsOf(
  job: Job,
  isReady: boolean,
  words: StatusText,
  now: Temporal.Instant,
): Condition[] {
  const condition = ready(job.generation, isReady, words.reason, words.message);
  return withCondition(job.status.conditions ?? [], condition, now);
}

export function rejectedStatus(job: Job, rejection: Rejection, now: Temporal.Instant): JobStatus {
  return {
    ...job.status,
    observedGeneration: job.generation,
    state: "Rejected",
    reason: rejection.reason,
    message: rejection.message,
    conditions: conditionsOf(job, false, rejection, now),
  };
}

/** Condition of a running job whose plan's window closes and evicts; absent otherwise. */
export const windowClosing = "WindowClosing";
/** Condition of a job whose pods do not end; absent otherwise. */
export const podsStuck = "PodsStuck";

/** A condition that is there only while it is true. */
function withWarning(
  conditions: readonly Condition[],
  type: string,
  job: Job,
  words: StatusText | undefined,
  now: Temporal.Instant,
): Condition[] {
  if (words === undefined) return conditions.filter((condition) => condition.type !== type);
  const { reason, message } = words;
  const observedGeneration = job.generation;
  return withCondition(
    conditions,
    { type, status: "True", observedGeneration, reason, message },
    now,
  );
}

/** What is to be said of the job beside what its row and pods say. */
export interface Remarks {
  readonly explanation: Explanation | undefined;
  readonly notice: Notice | undefined;
  /** Names the pods that do not end. */
  readonly stuck: string | undefined;
  /** How far a gang is that takes a while to start. */
  readonly pendingPodsOf: string | undefined;
  /** The PodDisruptionBudget, namespace/name, that holds its eviction up. */
  readonly blockedBy: string | undefined;
  /** Nodes with pods of the job that are not ready. */
  readonly unreadyNodes: readonly string[];
}

export const noRemarks: Remarks = {
  explanation: undefined,
  notice: undefined,
  stuck: undefined,
  pendingPodsOf: undefined,
  blockedBy: undefined,
  unreadyNodes: [],
};

export function statusOf(
  job: Job,
  view: JobView,
  pods: readonly Pod[],
  remarks: Remarks,
  now: Temporal.Instant,
): JobStatus {
  const { explanation, notice, stuck } = remarks;
  const words = withNodes(statusTextOf(view, remarks), view, remarks);
  const { nodes: formerNodes } = job.status;
  const nodes =
    view.placements.length > 0 && view.status !== "reserved" ? nodesOf(view) : formerNodes;
  const suspended = view.suspended && isWaiting(view.status);
  return {
    observedGeneration: job.generation,
    state: suspended ? "Suspended" : jobStates[view.status],
    ...words,
    ...(isWaiting(view.status) && explanation !== undefined && !suspended
      ? { queuePosition: explanation.position }
      : {}),
    priority: view.priority,
    gpus: view.gpus,
    borrowing: view.borrowing,
    attempt: view.attempt,
    ...(nodes === undefined ? {} : { nodes }),
    ...(view.configHash === undefined ? {} : { configHash: view.configHash }),
    pods: retainCounts(
      job,
      view,
      podCounts(
        view,
        pods.filter((pod) => pod.attempt === view.attempt),
        view.completed,
      ),
    ),
    queuedAt: view.queuedAt.round("second").toString(),
    ...(view.startedAt === undefined
      ? {}
      : { startedAt: view.startedAt.round("second").toString() }),
    ...(view.finishedAt === undefined
      ? {}
      : { finishedAt: view.finishedAt.round("second").toString() }),
    conditions: withWarning(
      withWarning(
        conditionsOf(job, isUp(view.status) && view.ending === undefined, words, now),
        windowClosing,
        job,
        notice,
        now,
      ),
      podsStuck,
      job,
      stuck === undefined ? undefined : { reason: "PodsStuck", message: stuck },
      now,
    ),
  };
}
