/** Details of one waiting job: its quotas, the nodes, the jobs that it may evict. For `kubectl rota why`. */
import { inQuantity } from "../resource-types.ts";
import { coresNumber, coresText, gpusText, listed, memoryText, namedAmountText } from "../text.ts";
import { isInBytes, isExclusive, inUseText } from "../resource-names.ts";
import { Quotas } from "./quota.ts";
import { type Candidate, comparePreference } from "./preemption/ordering.ts";
import {
  missingLabels,
  type NodeRejection,
  rejectionOf,
  taintText,
  untolerated,
} from "./node-filters.ts";
import { NamespaceQuotas } from "./namespace-quotas.ts";
import { type NodeState, Nodes } from "./nodes.ts";
import { evictableBy } from "./preemption/policy.ts";
import { atLeastZero, type Dimension, dimensionsOf, quantityOf, roomIn } from "./resources.ts";
import { podsOnNode } from "./placement.ts";
import { missingShare } from "./nearest-fit.ts";
import type { VictimRequest } from "./decision.ts";
import type { Quota, LiveJob, QueuedJob, Resources, Snapshot } from "./snapshot.ts";
import { victimRequest } from "./preemption/candidates.ts";

export interface QuotaView {
  readonly quota: Quota;
  /** GPUs or cores. */
  readonly demand: number;
  readonly exceeded: boolean;
}

export interface NodeView {
  readonly node: string;
  readonly free: Resources;
  readonly fits: number;
  readonly rejection: NodeRejection | "Full" | undefined;
  readonly message: string | undefined;
}

export interface Diagnosis {
  readonly quotas: readonly QuotaView[];
  readonly nodesTotal: number;
  readonly nodesAccepting: number;
  /** The closest fit first. */
  readonly nodes: readonly NodeView[];
}

/**
 * The finder's request for this job alone; undefined if its priority class does not preempt, or if a ResourceQuota of
 * its namespace holds it back.
 */
export function requestFor(snapshot: Snapshot, job: QueuedJob): VictimRequest | undefined {
  const obstacle = new NamespaceQuotas(snapshot.namespaceQuotas).obstacle(job, job.parallelism);
  if (!job.preempts || obstacle !== undefined) return undefined;
  return victimRequest(job, new Nodes(snapshot.nodes), new Quotas(snapshot.quotas));
}

/** The jobs that it may evict, the preferred victim first. */
export function candidatesFor(
  snapshot: Snapshot,
  job: QueuedJob,
  live: readonly LiveJob[],
): readonly Candidate[] {
  const nodes = new Nodes(snapshot.nodes).accepting(job);
  const quotas = new Quotas(snapshot.quotas);
  return evictableBy({ nowSeconds: snapshot.nowSeconds, job, nodes, quotas, live }).sort(
    comparePreference,
  );
}

/** The job's quotas, and how close the nodes are to fitting its pods: at most `maxNodes`, the closest first. */
export function diagnose(snapshot: Snapshot, job: QueuedJob, maxNodes: number): Diagnosis {
  const nodes = new Nodes(snapshot.nodes);
  const states = nodes.all
    .map((node) => ({ node, view: nodeView(node, job) }))
    .sort((a, b) => nearestFirst(a, b, job));
  return {
    quotas: quotasOf(snapshot, job),
    nodesTotal: states.length,
    nodesAccepting: nodes.accepting(job).length,
    nodes: states.slice(0, maxNodes).map(({ view }) => view),
  };
}

function quotasOf(snapshot: Snapshot, job: QueuedJob): QuotaView[] {
  return new Quotas(snapshot.quotas).of(job).map((state) => {
    const demand = state.demandOf(job);
    const { quota } = state;
    return {
      quota,
      demand: inQuantity(quota.resourceType, demand),
      exceeded: demand > 0 && state.excess(job) > 0,
    };
  });
}

interface RankedNode {
  readonly node: NodeState;
  readonly view: NodeView;
}

/** Nodes that do not match come last, whatever they have free. */
const rankOf = ({ rejection }: NodeView): number =>
  rejection === undefined ? 0 : rejection === "Full" ? 1 : 2;

const nearestFirst = (a: RankedNode, b: RankedNode, job: QueuedJob): number =>
  rankOf(a.view) - rankOf(b.view) ||
  b.view.fits - a.view.fits ||
  missingShare(a.node.startable, job.perPod) - missingShare(b.node.startable, job.perPod) ||
  (a.node.name < b.node.name ? -1 : 1);

function nodeView(node: NodeState, job: QueuedJob): NodeView {
  const rejection = rejectionOf(node.snapshot, job);
  const fits = rejection === undefined ? podsOnNode(node.startable, job) : 0;
  const seen = { node: node.name, free: atLeastZero(node.startable), fits };
  if (rejection !== undefined)
    return { ...seen, rejection, message: rejectionText(node, job, rejection) };
  if (fits === 0) return { ...seen, rejection: "Full", message: fullText(node, job) };
  return { ...seen, rejection: undefined, message: undefined };
}

function rejectionText(node: NodeState, job: QueuedJob, rejection: NodeRejection): string {
  if (rejection === "Unschedulable") return "is cordoned or not ready";
  if (rejection === "Avoided") return "recently failed to start this job's pods";
  if (rejection === "NodeSelector")
    return `lacks label ${missingLabels(node.snapshot, job).join(", ")}`;
  if (rejection === "Affinity") return "matches no term of the required node affinity";
  if (rejection === "Storage") return "cannot reach a storage that the job mounts";
  const taints = untolerated(node.snapshot, job).map(taintText);
  return `has untolerated taints: ${taints.join(", ")}`;
}

/** "2 of 4 GPUs" */
const shortageTexts: Readonly<Record<Dimension, (free: number, needed: number) => string>> = {
  gpus: (free, needed) => `${free} of ${gpusText(needed)}`,
  cpuMillis: (free, needed) => `${coresNumber(free)} of ${coresText(needed)}`,
  memoryBytes: (free, needed) => `${memoryText(free)} of ${memoryText(needed)} of memory`,
  pods: () => "0 of 1 pod slot",
};

function shortageText(dimension: Dimension, free: number, needed: number): string {
  const known = shortageTexts[dimension];
  if (known !== undefined) return known(free, needed);
  const shown = isInBytes(dimension) ? memoryText(free) : String(free);
  return `${shown} of ${namedAmountText(dimension, needed)}`;
}

function fullText(node: NodeState, job: QueuedJob): string {
  const short = dimensionsOf(job.perPod).filter(
    (of) => quantityOf(job.perPod, of) > roomIn(node.startable, of),
  );
  const amounts = short
    .filter((of) => !isExclusive(of))
    .map((of) =>
      shortageText(of, Math.max(0, roomIn(node.startable, of)), quantityOf(job.perPod, of)),
    );
  const free = amounts.length > 0 ? [`${amounts.join(", ")} free`] : [];
  const reserved =
    node.reservedFor.length === 0
      ? ""
      : `; capacity is reserved for ${node.reservedFor.join(", ")}`;
  return `has ${listed([...free, ...short.filter(isExclusive).map(inUseText)])}${reserved}`;
}
