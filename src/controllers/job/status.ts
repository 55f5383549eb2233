/** A Job's status, from its row, its pods and the scheduler's last explanation. Pure. */
import { conditionsOf, jobTable, observed } from "../../api/conditions.ts";
import type { Condition, JobState, TrueConditions } from "../../api/conditions.ts";
import { jobReasonOf, type JobReason } from "../../api/reasons.ts";
import type { JobStatus } from "../../api/generated.ts";
import { jobStates, type JobStatusName } from "../../api/job-states.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { sameProjectAs, redactJobs } from "../../domain/redaction.ts";
import { isDevice } from "../../domain/resource-names.ts";
import { listedUpTo } from "../../domain/text.ts";
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

const suspendedText: StatusText = {
  reason: "Suspended",
  message: "spec.suspend is true; set it to false to queue the job",
};

/** During back-off the status shows the failure and the time of the next attempt. */
function backOffText({ notBefore, reason, message }: JobView): StatusText | undefined {
  if (notBefore === undefined) return undefined;
  const at = notBefore.round("second").toString();
  return {
    reason: reason ?? "Queued",
    message: `${message ?? "failed"}; the next attempt starts at ${at} or later`,
  };
}

/** The complete reason of the eviction, without names of other projects; undefined without an eviction. */
export function evictionText({ eviction, namespace }: JobView): string | undefined {
  if (eviction === undefined) return undefined;
  const reason = redactJobs(sameProjectAs(`${namespace}/`), eviction.reason, eviction.jobs);
  const { pastBudget } = eviction;
  if (pastBudget === null) return reason;
  return `${reason}; PodDisruptionBudget ${pastBudget} had delayed the eviction for as long as it may`;
}

/** Short form: "Evicted by team/high (LowerPriority)". The Event has the complete reason. */
function evictedByText({ eviction, namespace }: JobView): string | undefined {
  if (eviction === undefined) return undefined;
  const { preemptor, rule } = eviction;
  if (preemptor === null) return "Evicted because the window of a plan closed";
  const name = redactJobs(sameProjectAs(`${namespace}/`), preemptor, [preemptor]);
  return `Evicted by ${name} (${rule})`;
}

/** The current obstacle comes first, because lists truncate messages. */
function waitingText(
  view: JobView,
  { explanation, rejection }: Pick<Remarks, "explanation" | "rejection">,
): StatusText {
  if (rejection !== undefined) return rejection;
  if (view.suspended) return suspendedText;
  const waits = explanation ??
    backOffText(view) ?? { reason: "Queued", message: "waits for the next scheduling cycle" };
  const evictedBy = view.status === "evicted" ? evictedByText(view) : undefined;
  if (evictedBy === undefined) return waits;
  return { reason: waits.reason, message: `${waits.message}. ${evictedBy}` };
}

/** Why the attempt ends, while its pods terminate. */
function endingText({ ending }: JobView): StatusText | undefined {
  const reason = ending && jobReasonOf(ending.reason);
  return reason && { reason, message: `${ending?.message ?? ""}; the pods are stopping` };
}

/** What blocks the eviction, and which job causes it. */
function evictingText(view: JobView, blockedBy: string | undefined): StatusText {
  const message = evictedByText(view) ?? "Evicted by another job";
  if (blockedBy === undefined) return { reason: "Evicting", message };
  const obstacle = `${blockedBy} blocks the eviction, which is retried`;
  return { reason: "EvictionBlocked", message: `${obstacle}. ${message}` };
}

const podsText = (count: number): string => (count === 1 ? "1 pod" : `${count} pods`);

const asksForDevices = ({ gpus, perPod: { byName = {} } }: JobView): boolean =>
  gpus > 0 || Object.keys(byName).some(isDevice);

/** What plans grant above all, and the template does not request: the request may be missing by mistake. */
function missingText(view: JobView): string {
  if (asksForDevices(view)) return "";
  const { cpuMillis, memoryBytes } = view.perPod;
  return `; its template requests no ${cpuMillis > 0 || memoryBytes > 0 ? "GPUs" : "resources"}`;
}

function runningText(view: JobView): StatusText {
  const missing = missingText(view);
  if (!view.borrowing) return { reason: "WithinQuota", message: `runs inside its plans${missing}` };
  const message = `runs outside its plans${missing}; jobs within quota can evict it`;
  return { reason: "Borrowing", message };
}

function reservedText(view: JobView): StatusText {
  const where = nodesText(nodesOf(view));
  return {
    reason: "WaitingForPreemption",
    message: `capacity is reserved on ${where} until the victims have left`,
  };
}

function finishedText({ status, reason, message }: JobView): StatusText {
  if (status === "succeeded") return { reason: "Completed", message: "all pods succeeded" };
  return {
    reason: reason ?? (status === "failed" ? "Failed" : "Cancelled"),
    message: message ?? "",
  };
}

function statusTextOf(view: JobView, remarks: Remarks): StatusText {
  const { pendingPodsOf, blockedBy, failure } = remarks;
  const { status } = view;
  if (failure !== undefined && view.finishedAt === undefined) return failure;
  if (status === "pending" || status === "evicted") return waitingText(view, remarks);
  const ending = status === "starting" || status === "running" ? endingText(view) : undefined;
  if (ending) return ending;
  if (pendingPodsOf !== undefined) return { reason: "PodsPending", message: pendingPodsOf };
  if (status === "starting")
    return { reason: "Admitted", message: `starts ${podsText(view.parallelism)}` };
  if (status === "running") return runningText(view);
  if (status === "reserved") return reservedText(view);
  if (status === "evicting") return evictingText(view, blockedBy);
  return finishedText(view);
}

/** If a node does not respond, its pods keep their last known state; the message names the node. */
function withNodes(words: StatusText, view: JobView, { unreadyNodes }: Remarks): StatusText {
  if (unreadyNodes.length === 0 || !isLiveStatus(view.status)) return words;
  const names = nodesText(unreadyNodes);
  const are = unreadyNodes.length === 1 ? `node ${names} is` : `nodes ${names} are`;
  return { ...words, message: `${words.message}; ${are} not ready, its pods there may not run` };
}

const nodesOf = (view: JobView): string[] => view.placements.map(({ node }) => node);

const maxNamedNodes = 3;

/** "node-1, node-2, node-3 and 5 more": at most three names. */
export function nodesText(nodes: readonly string[]): string {
  return listedUpTo(maxNamedNodes, nodes);
}

/** Pods of a starting gang that are not created yet count as active; otherwise each would cost a status write. */
const activePods = (view: JobView, pods: readonly Pod[]): number =>
  view.status === "starting"
    ? view.parallelism - new Set(pods.filter(hasEnded).map(({ index }) => index)).size
    : pods.filter((pod) => !hasEnded(pod)).length;

/** Keeps earlier counts of an ended job, because its pods may have been deleted since. */
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

const isWaiting = (status: JobStatusName): boolean => status === "pending" || status === "evicted";

/** The status of a job that is not queued; other fields stay. */
export function rejectedStatus(job: Job, rejection: Rejection, now: Temporal.Instant): JobStatus {
  return {
    ...job.status,
    observedGeneration: job.generation,
    state: "Rejected",
    reason: rejection.reason,
    message: rejection.message,
    conditions: conditionsOf(job, jobTable.Rejected.health, rejection, now),
  };
}

/** Conditions that are true beside those of the health, as they were. */
const alsoTrue = ({ status }: Job): TrueConditions =>
  Object.fromEntries(
    (status.conditions ?? [])
      .filter(({ type, status: is }) => is === "True" && !healthConditions.has(type))
      .map(({ type, reason, message }) => [type, { reason, message }]),
  );

const healthConditions: ReadonlySet<string> = new Set(["Ready", "Reconciling", "Stalled"]);

/**
 * A job that was queued before is where it was. Of another one nothing is known but the failure: it waits, or has to be
 * changed.
 */
export function failedStatus(
  job: Job,
  { reason, message, isFinal }: StatusText & { readonly isFinal: boolean },
  now: Temporal.Instant,
): JobStatus {
  const { status } = job;
  if (status.finishedAt !== undefined) return observed(job);
  const fresh = isFinal ? "Rejected" : "Pending";
  const state = status.queuedAt === undefined ? fresh : (status.state ?? fresh);
  const conditions = conditionsOf(
    job,
    jobTable[state].health,
    { reason, message },
    now,
    alsoTrue(job),
  );
  return { ...status, observedGeneration: job.generation, state, reason, message, conditions };
}

/** It never had a row, and never will. */
export function deletedStatus(job: Job, now: Temporal.Instant): JobStatus {
  const words = {
    reason: "Deleted",
    message: "the Job was deleted; a finalizer keeps it",
  } as const;
  const { health } = jobTable.Cancelled;
  return {
    ...job.status,
    observedGeneration: job.generation,
    state: "Cancelled",
    ...words,
    conditions: conditionsOf(job, health, words, now, { Failed: words }),
  };
}

/** Condition of a running job whose plan's window closes and evicts; absent otherwise. */
export const windowClosing = "WindowClosing";
/** Condition of a job with pods that do not terminate; absent otherwise. */
export const podsStuck = "PodsStuck";

/** Condition of a job whose configuration was expunged; absent otherwise. */
const configExpunged = "ConfigExpunged";

/** Reason and message of the state's own condition; they change only with the state, which saves writes. */
function stateWords(state: JobState, view: JobView, words: StatusText): StatusText {
  if (state === "Evicted")
    return { reason: view.reason ?? "Evicted", message: evictedByText(view) ?? "Evicted" };
  return jobTable[state].also === "Admitted"
    ? { reason: "Admitted", message: "the gang has its nodes" }
    : words;
}

function jobConditions(
  job: Job,
  view: JobView,
  state: JobState,
  words: StatusText,
  { notice, stuck }: Remarks,
  now: Temporal.Instant,
): Condition[] {
  const { health, also } = jobTable[state];
  const more: TrueConditions = {
    ...(also === undefined ? {} : { [also]: stateWords(state, view, words) }),
    ...(notice === undefined ? {} : { [windowClosing]: notice }),
    ...(stuck === undefined ? {} : { [podsStuck]: { reason: "PodsStuck", message: stuck } }),
    ...(view.expunged === undefined
      ? {}
      : { [configExpunged]: { reason: "ContentExpunged", message: view.expunged } }),
  };
  return conditionsOf(job, health, words, now, more);
}

/** Additions to the status that do not follow from row and pods. */
export interface Remarks {
  readonly explanation: Explanation | undefined;
  readonly notice: Notice | undefined;
  /** Names the pods that do not terminate. */
  readonly stuck: string | undefined;
  /** Progress of a gang that starts slowly. */
  readonly pendingPodsOf: string | undefined;
  /** The PodDisruptionBudget, namespace/name, that blocks the eviction. */
  readonly blockedBy: string | undefined;
  /** Why it stays out of the queue, until somebody changes what the message names. */
  readonly rejection: Rejection | undefined;
  /** What went wrong with it just now. */
  readonly failure: StatusText | undefined;
  /** Nodes with pods of the job that are not ready. */
  readonly unreadyNodes: readonly string[];
}

export const noRemarks: Remarks = {
  explanation: undefined,
  notice: undefined,
  stuck: undefined,
  pendingPodsOf: undefined,
  blockedBy: undefined,
  rejection: undefined,
  failure: undefined,
  unreadyNodes: [],
};

function stateOf({ status, suspended }: JobView, { rejection }: Remarks): JobState {
  if (!isWaiting(status)) return jobStates[status];
  if (rejection !== undefined) return "Rejected";
  return suspended ? "Suspended" : jobStates[status];
}

/** The complete status; fields of the last attempt stay while the job waits. */
export function statusOf(
  job: Job,
  view: JobView,
  pods: readonly Pod[],
  remarks: Remarks,
  now: Temporal.Instant,
): JobStatus {
  const { explanation } = remarks;
  const words = withNodes(statusTextOf(view, remarks), view, remarks);
  const { nodes: formerNodes } = job.status;
  const nodes =
    view.placements.length > 0 && view.status !== "reserved" ? nodesOf(view) : formerNodes;
  const suspended = view.suspended && isWaiting(view.status);
  const state = stateOf(view, remarks);
  return {
    observedGeneration: job.generation,
    state,
    ...words,
    ...(isWaiting(view.status) && explanation !== undefined && !suspended
      ? { queuePosition: explanation.position }
      : {}),
    priority: view.priority,
    gpus: view.gpus,
    borrowing: view.borrowing,
    attempt: view.attempt,
    ...(nodes === undefined ? {} : { nodes, nodeSummary: nodesText(nodes) }),
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
    conditions: jobConditions(job, view, state, words, remarks, now),
  };
}
