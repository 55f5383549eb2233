/** Sentences for people: why a job waits and why another was evicted, always with numbers. */
import type { QuotaState } from "./quota.ts";
import { type Candidate, totalPods } from "./preemption/ordering.ts";
import { rejectionOf, untolerated } from "./node-filters.ts";
import type { NodeState } from "./nodes.ts";
import type { View } from "./placement.ts";
import { closestNode } from "./nearest-fit.ts";
import type { QueuedJob, Resources, ResourceType, Taint } from "./snapshot.ts";
import type { ConsideredSet } from "./preemption/search.ts";

type Dimension = keyof Resources;
const DIMENSIONS: readonly Dimension[] = ["gpus", "cpuMillis", "memoryBytes", "pods"];
const GIBIBYTE = 1024 ** 3;
const MEBIBYTE = 1024 ** 2;

const counted = (count: number, one: string, many: string): string =>
  `${count} ${count === 1 ? one : many}`;

const rounded = (value: number): string => String(Math.round(value * 100) / 100);

function memoryText(bytes: number): string {
  const unit = bytes >= GIBIBYTE ? GIBIBYTE : MEBIBYTE;
  return `${rounded(bytes / unit)} ${unit === GIBIBYTE ? "GiB" : "MiB"}`;
}

const amountTexts: Readonly<Record<Dimension, (amount: number) => string>> = {
  gpus: (amount) => counted(amount, "GPU", "GPUs"),
  cpuMillis: (amount) => `${rounded(amount / 1000)} ${amount === 1000 ? "core" : "cores"}`,
  memoryBytes: (amount) => `${memoryText(amount)} of memory`,
  pods: (amount) => counted(amount, "pod slot", "pod slots"),
};

const amountText = (dimension: Dimension, amount: number): string =>
  amountTexts[dimension](Math.max(0, amount));

const joined = (parts: readonly string[]): string =>
  parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;

/** The dimensions that explain a refusal: GPUs where asked for, and whatever is short. */
const telling = (room: Resources, need: Resources): readonly Dimension[] =>
  DIMENSIONS.filter((one) => need[one] > room[one] || (one === "gpus" && need.gpus > 0));

/** "needs 8 GPUs on one node; the closest, node-7, has 5 free" */
export function spaceText(job: QueuedJob, nodes: readonly NodeState[], view: View): string {
  const closest = closestNode(nodes, job.perPod, view);
  if (!closest) return "no node to look at";
  const { node, room, fitting } = closest;
  const shown = telling(room, job.perPod);
  const need = joined(shown.map((one) => amountText(one, job.perPod[one])));
  const free = freeText(room, shown);
  if (job.parallelism === 1) {
    return `needs ${need} on one node; the closest, ${node.name}, has ${free} free`;
  }
  return `needs ${job.parallelism} pods with ${need} each; ${fitting} fit, and the closest node for one more, ${node.name}, has ${free} free`;
}

function freeText(room: Resources, shown: readonly Dimension[]): string {
  const [only] = shown;
  if (shown.length === 1 && only === "gpus") return String(Math.max(0, room.gpus));
  return joined(shown.map((one) => amountText(one, room[one])));
}

/** "needs 16 GPUs on one node; the largest that accepts it, node-7, has 8" */
export function tooLargeText(job: QueuedJob, nodes: readonly NodeState[]): string {
  const closest = closestNode(nodes, job.perPod, (node) => node.capacity);
  if (!closest) return "no node to look at";
  const shown = telling(closest.room, job.perPod);
  const need = joined(shown.map((one) => amountText(one, job.perPod[one])));
  if (job.parallelism === 1) {
    return `needs ${need} on one node; the largest that accepts it, ${closest.node.name}, has ${freeText(closest.room, shown)}`;
  }
  return `needs ${job.parallelism} pods with ${need} each; the nodes that accept them hold ${closest.fitting} even when empty`;
}

const maxNamedNodes = 3;

const namesOf = (names: readonly string[]): string =>
  names.length > maxNamedNodes
    ? `${names.slice(0, maxNamedNodes).join(", ")} and ${names.length - maxNamedNodes} more`
    : joined(names);

const taintText = ({ key, value, effect }: Taint): string =>
  value === undefined || value === "" ? `${key}:${effect}` : `${key}=${value}:${effect}`;

/** No node takes the job's pods: those that would and are avoided are named first, since the template is right. */
export function noNodeText(pool: string, job: QueuedJob, nodes: readonly NodeState[]): string {
  const rejections = nodes.map(({ name, snapshot }) => ({
    name,
    rejection: rejectionOf(snapshot, { ...job, avoidNodes: [] }),
    taints: untolerated(snapshot, job).map(taintText),
  }));
  const avoided = rejections.flatMap(({ name, rejection }) => (rejection ? [] : [name]));
  const down = rejections.filter(({ rejection }) => rejection === "Unschedulable").length;
  const tainted = rejections.filter(({ rejection }) => rejection === "Taint");
  const taints = [...new Set(tainted.flatMap((one) => one.taints))].toSorted();
  const details = [
    ...(down > 0 ? [`${down} not ready or cordoned`] : []),
    ...(tainted.length > 0 ? [`${tainted.length} with untolerated taint ${namesOf(taints)}`] : []),
  ];
  const others = details.length > 0 ? ` (${joined(details)})` : "";
  if (avoided.length > 0) {
    return `${namesOf(avoided)} of ${counted(nodes.length, "node", "nodes")} in pool ${pool} would take its pods, but failed to start them lately and ${avoided.length === 1 ? "is" : "are"} avoided for a while${others}`;
  }
  const storages = (job.storageTerms ?? []).length > 0 ? " and reaches its storages" : "";
  return `none of ${counted(nodes.length, "node", "nodes")} in pool ${pool} accepts its node selector, affinity and tolerations${storages}${others}`;
}

/** GPUs or cores as people write them, of GPUs or CPU millicores. */
const numberOf = (type: ResourceType, amount: number): string =>
  type === "GPU" ? String(amount) : rounded(amount / 1000);

const unitOf = (type: ResourceType, amount: number): string =>
  `${numberOf(type, amount)} ${type === "CPU" ? "cores" : amount === 1 ? "GPU" : "GPUs"}`;

const planNames = ({ quota }: QuotaState): string =>
  quota.plans.length === 0
    ? `the plans of ${quota.owner.kind} ${quota.owner.name}`
    : `${quota.plans.length === 1 ? "plan" : "plans"} ${joined(quota.plans)}`;

/** "plan vision: 6 of 8 GPUs in use, 2 more borrowed, and it needs 4" */
export function overPlanText(state: QuotaState, job: QueuedJob): string {
  const { quota, limit, used, borrowed } = state;
  const type = quota.resourceType;
  const more = borrowed > 0 ? `, ${numberOf(type, borrowed)} more borrowed,` : "";
  return `${planNames(state)}: ${numberOf(type, used)} of ${unitOf(type, limit)} in use${more} and it needs ${unitOf(type, state.demandOf(job))}`;
}

export function closedText(state: QuotaState): string {
  return state.quota.opensAtText ?? `${planNames(state)} grants nothing now and opens no more`;
}

/** What was evicted at a close, or would be, does not start again before the plan opens. */
export const shutText = (state: QuotaState): string =>
  `${closedText(state)}; until then nothing starts past ${planNames(state)}, which evicts when it closes`;

/** A duration in seconds as people say it. */
export function durationText(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${rounded(Math.round(seconds / 360) / 10)} h`;
}

/** A time of the week and no duration, which would be other words in every cycle. */
export function closesTooSoonText(state: QuotaState, runtimeSeconds: number): string {
  const at = state.quota.evictClosesAtText ?? "";
  return `its maxRuntime of ${durationText(runtimeSeconds)} cannot end before ${planNames(state)} closes ${at} and evicts`;
}

/** Names of victims written out; more are counted. */
const MAX_NAMED = 5;

export function setText(set: readonly Candidate[]): string {
  const named = set.slice(0, MAX_NAMED).map(({ job }) => {
    const observed = job.borrowing ? "borrowing, " : "";
    return `${job.key} (${observed}priority ${job.priority})`;
  });
  const more = set.length > MAX_NAMED ? [`${set.length - MAX_NAMED} more`] : [];
  const pods = counted(totalPods(set), "pod", "pods");
  return `${pods} of ${counted(set.length, "job", "jobs")}: ${joined([...named, ...more])}`;
}

/** The preemption log's reason: the preemptor, what it lacked, who leaves, and what else would have done. */
export function preemptionText(
  job: QueuedJob,
  observed: string,
  obstacle: string,
  chosen: ConsideredSet,
  others: readonly ConsideredSet[],
): string {
  const [next] = others;
  const alternative = next
    ? `; the next best set, ${next.how}, costs ${counted(totalPods(next.set), "pod", "pods")} of ${counted(next.set.length, "job", "jobs")}`
    : "; no cheaper set exists";
  return `${job.key} (priority ${job.priority}, ${observed}) ${obstacle}; it evicts, ${chosen.how}, ${setText(chosen.set)}${alternative}`;
}
