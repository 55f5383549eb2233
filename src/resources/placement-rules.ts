/**
 * Which pods may share a node, as a pod's spec says it: what Rota honours, and what it rejects because kube-scheduler
 * would keep the pod from the node that Rota chose, or because nobody would do it (docs/concepts/placement.md). Pure.
 */
import { labels } from "../api/names.ts";
import { selectedKeys, selects } from "../domain/label-selector.ts";
import type { Labels, LabelSelector } from "../domain/label-selector.ts";
import { exclusivesOf, hostnameKey, maxExclusives } from "../domain/exclusive-resources.ts";
import type { PodAffinityTerm } from "../domain/exclusive-resources.ts";
import type { KubeObject } from "../kube/resource.ts";
import { fieldsOf } from "./meta.ts";
import type { Fields } from "./pod-template.ts";

interface LabelKeys {
  readonly matchLabelKeys?: readonly string[] | null;
  readonly mismatchLabelKeys?: readonly string[] | null;
}

/** core/v1 TopologySpreadConstraint. */
interface SpreadConstraint extends LabelKeys {
  readonly maxSkew: number;
  readonly topologyKey: string;
  readonly whenUnsatisfiable: string;
  readonly labelSelector?: LabelSelector | null;
  readonly minDomains?: number | null;
  readonly nodeAffinityPolicy?: string | null;
}

type Term = PodAffinityTerm & LabelKeys;

const required = "requiredDuringSchedulingIgnoredDuringExecution";
const inSpec = (field: string): string => `spec.template.spec.${field}`;

const requiredTerms = (spec: Fields, kind: "podAffinity" | "podAntiAffinity"): readonly Term[] =>
  (fieldsOf(fieldsOf(spec["affinity"])[kind])[required] ?? []) as readonly Term[];

/** Those that are no wishes (ScheduleAnyway), with their index in the list. */
const strictConstraints = (spec: Fields): readonly (readonly [number, SpreadConstraint])[] =>
  ((spec["topologySpreadConstraints"] ?? []) as readonly SpreadConstraint[])
    .map((constraint, index) => [index, constraint] as const)
    .filter(([, { whenUnsatisfiable }]) => whenUnsatisfiable === "DoNotSchedule");

/** The most pods of a gang on one node, by its spread constraints. */
export function maxPodsPerNodeOf(spec: Fields): number | undefined {
  const skews = strictConstraints(spec).map(([, { maxSkew }]) => maxSkew);
  return skews.length === 0 ? undefined : Math.min(...skews);
}

/** Labels in which the pods of a gang, or of its attempts, differ. */
const ownLabels: ReadonlySet<string> = new Set([labels.index, labels.attempt]);

function selectorProblems(
  field: string,
  selector: LabelSelector | null | undefined,
  own: Labels,
): string[] {
  const differing = selectedKeys(selector ?? {}).find((key) => ownLabels.has(key));
  if (differing !== undefined)
    return [`${field} must not use ${differing}, which differs between the pods of a gang`];
  if (selector && selects(selector, own)) return [];
  return [`${field} must select the job's own pods: Rota does not see the labels of other pods`];
}

function keysProblems(field: string, keys: LabelKeys): string[] {
  const given = (["matchLabelKeys", "mismatchLabelKeys"] as const).filter(
    (name) => (keys[name] ?? []).length > 0,
  );
  return given.map(
    (name) => `${field}.${name} is not supported; put the labels into ${field}.labelSelector`,
  );
}

function topologyProblems(field: string, topologyKey: string | undefined, wish: string): string[] {
  if (topologyKey === hostnameKey) return [];
  return [
    `${field}.topologyKey "${topologyKey}" is not supported; must be ${hostnameKey}, or use ${wish}`,
  ];
}

/** Whether the term is about pods of the namespace; of other namespaces' labels nothing is known. */
function reachesOwn({ namespaces, namespaceSelector }: Term, namespace: string): boolean {
  const named = namespaces ?? [];
  if (named.includes(namespace)) return true;
  if (!namespaceSelector) return named.length === 0;
  return selectedKeys(namespaceSelector).length === 0;
}

function antiAffinityProblems(spec: Fields, namespace: string, own: Labels): string[] {
  return requiredTerms(spec, "podAntiAffinity").flatMap((term, index) => {
    const field = inSpec(`affinity.podAntiAffinity.${required}[${index}]`);
    const wish = "preferredDuringSchedulingIgnoredDuringExecution";
    const elsewhere = reachesOwn(term, namespace)
      ? []
      : [`${field}.namespaces must include the job's own namespace, ${namespace}`];
    return [
      ...topologyProblems(field, term.topologyKey, wish),
      ...keysProblems(field, term),
      ...elsewhere,
      ...selectorProblems(`${field}.labelSelector`, term.labelSelector, own),
    ];
  });
}

function affinityProblems(spec: Fields): string[] {
  if (requiredTerms(spec, "podAffinity").length === 0) return [];
  return [
    `${inSpec(`affinity.podAffinity.${required}`)} is not supported; use nodeSelector or nodeAffinity, or preferredDuringSchedulingIgnoredDuringExecution`,
  ];
}

/** Of a pinned pod kube-scheduler counts only its own node, unless one of the last two fields says otherwise. */
function spreadProblems(spec: Fields, own: Labels): string[] {
  return strictConstraints(spec).flatMap(([index, constraint]) => {
    const field = inSpec(`topologySpreadConstraints[${index}]`);
    const { minDomains, nodeAffinityPolicy } = constraint;
    return [
      ...topologyProblems(field, constraint.topologyKey, "whenUnsatisfiable: ScheduleAnyway"),
      ...keysProblems(field, constraint),
      ...selectorProblems(`${field}.labelSelector`, constraint.labelSelector, own),
      ...((minDomains ?? 1) > 1
        ? [`${field}.minDomains ${minDomains} is not supported; remove it and set maxSkew`]
        : []),
      ...(nodeAffinityPolicy === "Ignore"
        ? [`${field}.nodeAffinityPolicy Ignore is not supported; must be Honor`]
        : []),
    ];
  });
}

function claimProblems(spec: Fields): string[] {
  const claims = (spec["resourceClaims"] ?? []) as readonly unknown[];
  if (claims.length === 0) return [];
  return [
    `${inSpec("resourceClaims")} is not supported: Rota does not count devices of resource claims; request them as extended resources in resources.limits`,
  ];
}

function exclusiveProblems(spec: Fields, namespace: string): string[] {
  const count = exclusivesOf(spec, namespace).length;
  if (count <= maxExclusives) return [];
  return [
    `spec.template.spec has ${count} host ports and required anti-affinity terms; must be at most ${maxExclusives}`,
  ];
}

/** What the pod asks for and cannot have, each with its field; empty if Rota can place it. */
export function placementProblems(pod: KubeObject): string[] {
  const spec = fieldsOf(pod["spec"]);
  const { namespace = "", labels: own = {} } = pod.metadata;
  return [
    ...exclusiveProblems(spec, namespace),
    ...claimProblems(spec),
    ...affinityProblems(spec),
    ...antiAffinityProblems(spec, namespace, own),
    ...spreadProblems(spec, own),
  ];
}
