/** Messages about waiting and preempted jobs: what is missing, with numbers and names. */
import { hostPortText, isExclusive, inUseText } from "../resource-names.ts";
import { coresText, counted, durationText, gpusText, listed, listedUpTo } from "../text.ts";
import {
  memoryText,
  namedAmountText,
  quantityText,
  typedNumber,
  typedText,
  unitText,
} from "../text.ts";
import type { QuotaState } from "./quota.ts";
import { type Candidate, totalPods } from "./preemption/ordering.ts";
import { rejectionOf, taintText, untolerated } from "./node-filters.ts";
import type { NodeState } from "./nodes.ts";
import { limitPerNode, type View } from "./placement.ts";
import { closestNode } from "./nearest-fit.ts";
import {
  devicesOf,
  type Dimension,
  dimensionsOf,
  podsThatFit,
  quantityOf,
  roomIn,
} from "./resources.ts";
import type { QueuedJob, QuotaClose, Resources } from "./snapshot.ts";
import type { ConsideredSet } from "./preemption/search.ts";

const amountTexts: Readonly<Record<Dimension, (amount: number) => string>> = {
  gpus: gpusText,
  cpuMillis: coresText,
  memoryBytes: (bytes) => `${memoryText(bytes)} of memory`,
  pods: (pods) => counted(pods, "pod slot"),
};

function amountText(dimension: Dimension, amount: number): string {
  const shown = Math.max(0, amount);
  return amountTexts[dimension]?.(shown) ?? namedAmountText(dimension, shown);
}

/** The dimensions worth naming: GPUs if the job requests any, and all that are short. */
const relevantDimensions = (room: Resources, need: Resources): readonly Dimension[] =>
  dimensionsOf(need).filter(
    (one) => quantityOf(need, one) > roomIn(room, one) || (one === "gpus" && need.gpus > 0),
  );

/** "needs 8 GPUs on one node; the closest fit, node-7, has 5 free" */
export function spaceText(job: QueuedJob, nodes: readonly NodeState[], view: View): string {
  // A node that never has what a pod needs is no close fit, however much else is free there.
  const able = nodes.filter(({ capacity }) => podsThatFit(capacity, job.perPod) > 0);
  const closest = closestNode(able.length > 0 ? able : nodes, job, view);
  if (!closest) return "no node matches";
  const { node, room, fitting } = closest;
  const shown = relevantDimensions(room, job.perPod);
  const has = freeText(room, shown, " free");
  if (job.parallelism === 1) {
    return `${needText(job, shown)}; the closest fit, ${node.name}, has ${has}`;
  }
  return `${needText(job, shown)}; ${fitting} can be placed, and the closest fit for another, ${node.name}, has ${has}`;
}

/** "5 free", "5 GPUs and 2 cores free", "5 GPUs free and host port 8080/TCP in use" */
function freeText(room: Resources, shown: readonly Dimension[], free = ""): string {
  const amounts = shown.filter((one) => !isExclusive(one));
  const isGpusOnly = shown.length === 1 && amounts[0] === "gpus";
  const texts = amounts.map((one) =>
    isGpusOnly ? String(Math.max(0, room.gpus)) : amountText(one, quantityOf(room, one)),
  );
  const available = texts.length > 0 ? [`${listed(texts)}${free}`] : [];
  return listed([...available, ...shown.filter(isExclusive).map(inUseText)]);
}

/** "needs 16 GPUs on one node; the largest matching node, node-7, has 8" */
export function tooLargeText(job: QueuedJob, nodes: readonly NodeState[]): string {
  const closest = closestNode(nodes, job, (node) => node.healthyCapacity);
  if (!closest) return "no node matches";
  const shown = relevantDimensions(closest.room, job.perPod);
  if (job.parallelism === 1) {
    return `${needText(job, shown)}; the largest matching node, ${closest.node.name}, has ${freeText(closest.room, shown)}`;
  }
  const matching = isLimited(job)
    ? `${counted(nodes.length, "node matches", "nodes match")} and fit`
    : "the matching nodes fit";
  return `${needText(job, shown)}; ${matching} ${closest.fitting} even when empty`;
}

/** Whether a limit per node spreads the gang, however large the nodes are. */
const isLimited = (job: QueuedJob): boolean => limitPerNode(job) < job.parallelism;

/** "8 GPUs and host port 8080/TCP": what one pod needs, as far as it is worth naming. */
const eachNeeds = ({ perPod }: QueuedJob, shown: readonly Dimension[]): string =>
  listed(
    shown.flatMap((one) =>
      isExclusive(one) ? (hostPortText(one) ?? []) : amountText(one, quantityOf(perPod, one)),
    ),
  );

/** "needs 8 GPUs on one node", "needs 2 pods with 8 GPUs each", "needs 2 pods with 1 GPU each, at most 1 on a node" */
function needText(job: QueuedJob, shown: readonly Dimension[]): string {
  const need = eachNeeds(job, shown);
  if (job.parallelism === 1) return need === "" ? "needs a node" : `needs ${need} on one node`;
  const each = need === "" ? "" : ` with ${need} each`;
  const limit = isLimited(job) ? `, at most ${limitPerNode(job)} on a node` : "";
  return `needs ${job.parallelism} pods${each}${limit}`;
}

const maxNamedNodes = 3;

/** "1 with untolerated taint gpu=only:NoSchedule"; of several taints, three are named. */
function taintedText(nodes: readonly NodeState[], job: QueuedJob): readonly string[] {
  const tainted = nodes.filter(({ snapshot }) => rejectionOf(snapshot, job) === "Taint");
  if (tainted.length === 0) return [];
  const taints = tainted.flatMap(({ snapshot }) => untolerated(snapshot, job).map(taintText));
  const names = listedUpTo(maxNamedNodes, [...new Set(taints)].toSorted());
  return [`${tainted.length} with untolerated taint ${names}`];
}

function downText(nodes: readonly NodeState[]): readonly string[] {
  const down = nodes.filter(({ snapshot }) => !snapshot.schedulable).length;
  return down > 0 ? [`${down} cordoned or not ready`] : [];
}

/** "0/3 nodes in pool default match the job's node selector, affinity and tolerations (1 cordoned or not ready)" */
export function noNodeText(pool: string, job: QueuedJob, nodes: readonly NodeState[]): string {
  const details = [...downText(nodes), ...taintedText(nodes, job)];
  const others = details.length > 0 ? ` (${details.join(", ")})` : "";
  const storages = (job.storageTerms ?? []).length > 0 ? ["storages"] : [];
  const filters = listed(["node selector", "affinity", "tolerations", ...storages]);
  return `0/${nodes.length} nodes in pool ${pool} match the job's ${filters}${others}`;
}

/** "node-2 with 0 of 4 GPUs healthy", of the devices that the job asks for. */
function unhealthyText(nodes: readonly NodeState[], { perPod }: QueuedJob): readonly string[] {
  const texts = nodes.flatMap(({ name, snapshot }) =>
    devicesOf(perPod).flatMap((device) => {
      const { allocatable, unhealthyGpus, unhealthyByName } = snapshot;
      const isGpu = device === "gpus";
      const unhealthy = isGpu ? unhealthyGpus : (unhealthyByName?.[device] ?? 0);
      const healthy = quantityOf(allocatable, device);
      const kind = isGpu ? "GPUs" : device;
      return unhealthy > 0
        ? [`${name} with ${healthy} of ${healthy + unhealthy} ${kind} healthy`]
        : [];
    }),
  );
  return texts.length === 0 ? [] : [listedUpTo(maxNamedNodes, texts)];
}

function avoidedText(nodes: readonly NodeState[], job: QueuedJob): readonly string[] {
  const names = nodes
    .filter(({ snapshot }) => rejectionOf(snapshot, job) === "Avoided")
    .map(({ name }) => name);
  if (names.length === 0) return [];
  return [`avoided for now after a failed start: ${listedUpTo(maxNamedNodes, names)}`];
}

/**
 * "needs 4 GPUs on one node; nodes that match are unavailable: 1 cordoned or not ready; node-2 with 0 of 4 GPUs healthy".
 * The template is not at fault, and the pool is large enough.
 */
export function unavailableText(job: QueuedJob, matching: readonly NodeState[]): string {
  const devices = devicesOf(job.perPod);
  const shown = devices.length > 0 ? devices : ["cpuMillis", "memoryBytes"];
  const details = [
    ...downText(matching),
    ...taintedText(matching, job),
    ...unhealthyText(matching, job),
    ...avoidedText(matching, job),
  ];
  return `${needText(job, shown)}; nodes that match are unavailable: ${details.join("; ")}`;
}

const planNames = ({ quota }: QuotaState): string =>
  quota.plans.length === 0
    ? `the plans of ${quota.owner.kind} ${quota.owner.name}`
    : `${quota.plans.length === 1 ? "plan" : "plans"} ${listed(quota.plans)}`;

/** "plan vision: 6 of 8 GPUs in use, 2 more borrowed; the job needs 4 GPUs" */
export const overQuotaText = (state: QuotaState, job: QueuedJob): string =>
  quotaUseText(planNames(state), state, job, borrowedText(state));

/** "its quota: 6 of 8 GPUs in use; the job needs 4 GPUs": for readers of its victims, whom its plans do not concern. */
export const ownQuotaText = (state: QuotaState, job: QueuedJob): string =>
  quotaUseText("its quota", state, job, borrowedText(state));

/** "plan vision: 6 of 8 GPUs in use, 4 more by jobs that are leaving; the job needs 2 GPUs" */
export function leavingText(state: QuotaState, job: QueuedJob): string {
  const leaving = typedNumber(state.quota.resourceType, state.leaving);
  const more = `, ${leaving} more by jobs that are leaving`;
  return quotaUseText(planNames(state), state, job, more);
}

const borrowedText = ({ quota, borrowed }: QuotaState): string =>
  borrowed > 0 ? `, ${typedNumber(quota.resourceType, borrowed)} more borrowed` : "";

function quotaUseText(name: string, state: QuotaState, job: QueuedJob, more: string): string {
  const { quota, limit, used } = state;
  const type = quota.resourceType;
  return `${name}: ${typedNumber(type, used)} of ${typedText(type, limit)} in use${more}; the job needs ${typedText(type, state.demandOf(job))}`;
}

/** "no plan of its project or a project above it grants GPUs and example.com/fpga" */
export const noPlanText = ({ ungranted = [] }: QueuedJob): string =>
  `no plan of its project or a project above it grants ${ungranted.length === 0 ? "what it requests" : listed(ungranted.map(unitText))}`;

/** "plan vision opens Mon 08:00" */
export const closedText = (state: QuotaState): string =>
  state.quota.opensAtText ?? `no upcoming window in ${planNames(state)}`;

/** A job that its plan evicts at the close cannot start again before the plan opens. */
export const shutText = (state: QuotaState): string =>
  `${closedText(state)}; jobs cannot start over its quota while it is closed (onWindowClose: Evict)`;

/** Names the time of the close, not the time left: the message would change in every cycle. */
export function closesTooSoonText(
  state: QuotaState,
  { atText, quantity }: QuotaClose,
  runtimeSeconds: number,
): string {
  const left = quantity > 0 ? `; ${quantityText(state.quota.resourceType, quantity)} remain` : "";
  return `maxRuntime (${durationText(runtimeSeconds)}) exceeds the time left before ${planNames(state)} closes and evicts (${atText}${left})`;
}

/** Victims that are named; more are counted. */
const maxNamed = 5;

/** "3 pods of 2 jobs: vision/train (borrowing, priority 10) and nlp/x (priority 0)" */
export function setText(set: readonly Candidate[]): string {
  const names = set.map(
    ({ job }) =>
      `${job.key} (${job.borrowing ? "borrowing, " : ""}priority ${job.priority}${job.pastBudget === undefined ? "" : ", past its disruption budget"})`,
  );
  return `${sizeText(set)}: ${listedUpTo(maxNamed, names)}`;
}

const sizeText = (set: readonly Candidate[]): string =>
  `${counted(totalPods(set), "pod")} of ${counted(set.length, "job")}`;

/** The preemption log's reason: the preemptor, what it lacked, the victims, and the next best set if one was considered. */
export function preemptionText(
  job: QueuedJob,
  borrowing: boolean,
  obstacle: string,
  chosen: ConsideredSet,
  others: readonly ConsideredSet[],
): string {
  const [next] = others;
  const alternative = next ? `; next best, ${next.how}: ${sizeText(next.set)}` : "";
  const standing = borrowing ? "borrowing" : "within quota";
  return `${job.key} (priority ${job.priority}, ${standing}): ${obstacle}; preempts, ${chosen.how}, ${setText(chosen.set)}${alternative}`;
}
