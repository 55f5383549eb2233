/**
 * Whether a node matches a job's pods: kube-scheduler's NodeUnschedulable, TaintToleration and NodeAffinity filters.
 * kube-scheduler checks again when it binds the pod.
 */
import { labelOf } from "../label-selector.ts";
import type {
  NodeConstraints,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  NodeSnapshot,
  Taint,
  Toleration,
} from "./snapshot.ts";

export type NodeRejection =
  | "Unschedulable"
  | "Avoided"
  | "NodeSelector"
  | "Taint"
  | "Affinity"
  | "Storage";

/** Whether the node passes all filters. */
export const acceptsPods = (node: NodeSnapshot, constraints: NodeConstraints): boolean =>
  rejectionOf(node, constraints) === undefined;

/** The first filter that rejects the node; undefined if it passes all. */
export function rejectionOf(
  node: NodeSnapshot,
  constraints: NodeConstraints,
): NodeRejection | undefined {
  if (!node.schedulable) return "Unschedulable";
  if (constraints.avoidNodes.includes(node.name)) return "Avoided";
  if (!selectorMatches(node, constraints.nodeSelector)) return "NodeSelector";
  if (!toleratesAll(node.taints, constraints.tolerations)) return "Taint";
  if (!affinityMatches(node, constraints.affinityTerms)) return "Affinity";
  const reaches = (constraints.storageTerms ?? []).every((terms) => affinityMatches(node, terms));
  return reaches ? undefined : "Storage";
}

/**
 * How far the node meets wishes, more is better: fewer PreferNoSchedule taints that the job does not tolerate, then the
 * weights of the preferred terms that match.
 */
export interface Wishes {
  readonly taints: number;
  readonly weight: number;
}

export function wishesOn(
  node: NodeSnapshot,
  { tolerations = [], preferredTerms = [] }: Partial<NodeConstraints>,
): Wishes {
  const unwelcome = node.taints.filter(
    (taint) =>
      taint.effect === "PreferNoSchedule" && !tolerations.some((one) => tolerates(one, taint)),
  );
  const weights = preferredTerms
    .filter(({ preference }) => termMatches(node, preference))
    .map(({ weight }) => weight);
  return { taints: unwelcome.length, weight: weights.reduce((sum, one) => sum + one, 0) };
}

/** Negative if the first is better. */
export const compareWishes = (a: Wishes, b: Wishes): number =>
  a.taints - b.taints || b.weight - a.weight;

/** A taint as kubectl shows it: "key=value:effect", or "key:effect" without a value. */
export const taintText = ({ key, value, effect }: Taint): string =>
  value === undefined || value === "" ? `${key}:${effect}` : `${key}=${value}:${effect}`;

/** Taints that the node controller sets for a condition or a cordon, and removes with it. */
const showsCondition = ({ key }: Taint): boolean => key.startsWith("node.kubernetes.io/");

/** Whether the node would pass all filters if it were ready, not cordoned, without pressure and not avoided. */
export function acceptsWhenAvailable(node: NodeSnapshot, constraints: NodeConstraints): boolean {
  const taints = node.taints.filter((taint) => !showsCondition(taint));
  const available = { ...node, schedulable: true, taints };
  return acceptsPods(available, { ...constraints, avoidNodes: [] });
}

/** The labels of the node selector that the node lacks, as key=value. */
export const missingLabels = (
  node: NodeSnapshot,
  { nodeSelector }: NodeConstraints,
): readonly string[] =>
  Object.entries(nodeSelector)
    .filter(([key, value]) => labelOf(node.labels, key) !== value)
    .map(([key, value]) => `${key}=${value}`);

/** The taints that the job's pods do not tolerate. */
export const untolerated = (
  node: NodeSnapshot,
  { tolerations }: NodeConstraints,
): readonly Taint[] =>
  node.taints
    .filter(keepsPodsOut)
    .filter((taint) => !tolerations.some((one) => tolerates(one, taint)));

const selectorMatches = (node: NodeSnapshot, selector: Readonly<Record<string, string>>): boolean =>
  Object.entries(selector).every(([key, value]) => labelOf(node.labels, key) === value);

const affinityMatches = (
  node: NodeSnapshot,
  terms: readonly NodeSelectorTerm[] | undefined,
): boolean => terms === undefined || terms.some((term) => termMatches(node, term));

function termMatches(node: NodeSnapshot, term: NodeSelectorTerm): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length + fields.length === 0) return false;
  return (
    expressions.every((one) => requirementMatches(labelOf(node.labels, one.key), one)) &&
    fields.every((one) => one.key === "metadata.name" && requirementMatches(node.name, one))
  );
}

function requirementMatches(
  actual: string | undefined,
  requirement: NodeSelectorRequirement,
): boolean {
  const values = requirement.values ?? [];
  switch (requirement.operator) {
    case "In":
      return actual !== undefined && values.includes(actual);
    case "NotIn":
      return actual === undefined || !values.includes(actual);
    case "Exists":
      return actual !== undefined;
    case "DoesNotExist":
      return actual === undefined;
    case "Gt":
      return compareIntegers(actual, values[0], (a, b) => a > b);
    case "Lt":
      return compareIntegers(actual, values[0], (a, b) => a < b);
    default:
      return false;
  }
}

function compareIntegers(
  actual: string | undefined,
  bound: string | undefined,
  compare: (a: bigint, b: bigint) => boolean,
): boolean {
  if (!isInteger(actual) || !isInteger(bound)) return false;
  return compare(BigInt(actual), BigInt(bound));
}

const isInteger = (text: string | undefined): text is string =>
  text !== undefined && /^[+-]?\d+$/.test(text);

/** PreferNoSchedule is a preference, not a filter. */
const keepsPodsOut = (taint: Taint): boolean =>
  taint.effect === "NoSchedule" || taint.effect === "NoExecute";

const toleratesAll = (taints: readonly Taint[], tolerations: readonly Toleration[]): boolean =>
  taints.filter(keepsPodsOut).every((taint) => tolerations.some((one) => tolerates(one, taint)));

function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  if (toleration.operator === "Exists") return true;
  return Boolean(toleration.key) && (toleration.value ?? "") === (taint.value ?? "");
}
