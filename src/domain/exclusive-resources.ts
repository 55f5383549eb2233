/**
 * The exclusive resources that a pod takes: its host ports, and one for each required anti-affinity term by host name.
 * Two pods that take the same one never share a node. Pure.
 */
import { createHash } from "node:crypto";
import { antiAffinityName, hostPortName } from "./resource-names.ts";
import type { LabelSelector } from "./label-selector.ts";
import type { PodDemand } from "./pod-demand.ts";

export const hostnameKey = "kubernetes.io/hostname";

interface ContainerPort {
  readonly hostPort?: number;
  readonly protocol?: string;
}

interface PortContainer {
  readonly restartPolicy?: string;
  readonly ports?: readonly ContainerPort[] | null;
}

/** core/v1 PodAffinityTerm. */
export interface PodAffinityTerm {
  readonly topologyKey?: string;
  readonly labelSelector?: LabelSelector | null;
  readonly namespaces?: readonly string[] | null;
  readonly namespaceSelector?: LabelSelector | null;
}

/** The relevant fields of core/v1 PodSpec, with the API server's defaults. */
export interface ExclusivePodSpec {
  readonly containers?: readonly PortContainer[];
  readonly initContainers?: readonly PortContainer[];
  readonly affinity?: {
    readonly podAntiAffinity?: {
      readonly requiredDuringSchedulingIgnoredDuringExecution?: readonly PodAffinityTerm[] | null;
    } | null;
  } | null;
}

/** Of the init containers only sidecars keep their ports, as kube-scheduler counts them. The host IP does not matter. */
function hostPortsOf({ containers = [], initContainers = [] }: ExclusivePodSpec): string[] {
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
  return [...containers, ...sidecars]
    .flatMap(({ ports }) => ports ?? [])
    .flatMap(({ hostPort = 0, protocol = "TCP" }) =>
      hostPort > 0 ? [hostPortName(protocol, hostPort)] : [],
    );
}

/** The selector's requirements, in an order that does not depend on how they are written; null: it selects nothing. */
function requirementsOf(selector: LabelSelector | null | undefined): readonly string[] | null {
  if (selector === null || selector === undefined) return null;
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: "In",
    values: [value],
  }));
  return [...equal, ...(selector.matchExpressions ?? [])]
    .map(({ key, operator, values = [] }) =>
      JSON.stringify([key, operator, [...new Set(values)].toSorted()]),
    )
    .toSorted();
}

/** Equal for terms that keep the same pods away. */
function hashOf(term: PodAffinityTerm, namespace: string): string {
  const { labelSelector, namespaceSelector, namespaces } = term;
  const named = namespaces ?? [];
  const isOwn = named.length === 0 && (namespaceSelector ?? null) === null;
  const meaning = [
    requirementsOf(labelSelector),
    isOwn ? [namespace] : [...new Set(named)].toSorted(),
    requirementsOf(namespaceSelector),
  ];
  return createHash("sha256").update(JSON.stringify(meaning)).digest("hex").slice(0, 32);
}

const antiAffinitiesOf = ({ affinity }: ExclusivePodSpec, namespace: string): string[] =>
  (affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [])
    .filter(({ topologyKey }) => topologyKey === hostnameKey)
    .map((term) => antiAffinityName(hashOf(term, namespace)));

/**
 * The exclusive resources that the pod takes, host ports first.
 * @param spec with the API server's defaults: the ports of a pod in the host's network are host ports
 * @param namespace the pod's, which terms without namespaces mean
 */
export const exclusivesOf = (spec: ExclusivePodSpec, namespace: string): readonly string[] =>
  [...new Set([...hostPortsOf(spec), ...antiAffinitiesOf(spec, namespace)])].toSorted();

/** Exclusive resources of one pod: each decision compares them with those of every node. */
export const maxExclusives = 64;

/**
 * The demand with the exclusive resources that the pod takes. Whoever makes a pod chooses how many: of more than
 * `maxExclusives`, which no job has, the others are not modelled.
 */
export function withExclusives(
  demand: PodDemand,
  spec: ExclusivePodSpec,
  namespace: string,
): PodDemand {
  const names = exclusivesOf(spec, namespace).slice(0, maxExclusives);
  if (names.length === 0) return demand;
  const taken = names.map((name) => [name, 1] as const);
  return { ...demand, byName: { ...demand.byName, ...Object.fromEntries(taken) } };
}
