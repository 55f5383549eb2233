/**
 * What a pod counts for under ResourceQuotas, as the API server counts it when the pod is created: requests and
 * limits of containers and sidecars together, or the largest init container with the sidecars started before it,
 * whichever is more; those of the pod itself instead; plus overhead. And the quota scopes that the pod is in.
 */
import type { DemandingPodSpec } from "./pod-demand.ts";
import { exactMillis } from "./quantity.ts";

/** Amounts by resource name, in thousandths: exact. */
export type Thousandths = Readonly<Record<string, bigint>>;

export type PodScope =
  | "Terminating"
  | "NotTerminating"
  | "BestEffort"
  | "NotBestEffort"
  | "CrossNamespacePodAffinity";

export interface PodUsage {
  /** Without zeros, like `limits`. */
  readonly requests: Thousandths;
  readonly limits: Thousandths;
  readonly scopes: readonly PodScope[];
  /** Empty: none. */
  readonly priorityClassName: string;
}

/** The relevant fields of core/v1 PodSpec, with the defaults of the API server. */
export interface CountedPodSpec extends DemandingPodSpec {
  readonly activeDeadlineSeconds?: number;
  readonly priorityClassName?: string;
  readonly affinity?: Readonly<Record<string, unknown>>;
}

type Kind = "requests" | "limits";
type Container = NonNullable<CountedPodSpec["containers"]>[number];
type Requirements = Container["resources"];

const isOfPod = (name: string): boolean =>
  name === "cpu" || name === "memory" || name.startsWith("hugepages-");

const isLimited = (name: string): boolean =>
  name === "cpu" || name === "memory" || name === "ephemeral-storage";

/** A limit without a request counts as the request, as the API server defaults it. */
function stated(requirements: Requirements, kind: Kind, name: string): bigint | undefined {
  const limit = requirements?.limits?.[name];
  const quantity = kind === "limits" ? limit : (requirements?.requests?.[name] ?? limit);
  return quantity === undefined ? undefined : exactMillis(String(quantity));
}

const larger = (one: bigint, other: bigint): bigint => (one > other ? one : other);

function ofContainers(spec: CountedPodSpec, kind: Kind, name: string): bigint {
  const of = ({ resources }: Container): bigint => stated(resources, kind, name) ?? 0n;
  let sidecars = 0n;
  let starting = 0n;
  for (const container of spec.initContainers ?? []) {
    const amount = sidecars + of(container);
    if (container.restartPolicy === "Always") sidecars = amount;
    starting = larger(starting, amount);
  }
  const running = (spec.containers ?? []).reduce((sum, one) => sum + of(one), sidecars);
  return larger(running, starting);
}

function amountOf(spec: CountedPodSpec, kind: Kind, name: string): bigint {
  const ofPod = isOfPod(name) ? stated(spec.resources, kind, name) : undefined;
  const amount = ofPod ?? ofContainers(spec, kind, name);
  const overhead = exactMillis(String(spec.overhead?.[name] ?? 0));
  // Overhead does not make a limit where there is none.
  return kind === "limits" && amount === 0n ? 0n : amount + overhead;
}

function namesIn(spec: CountedPodSpec): ReadonlySet<string> {
  const holders = [...(spec.containers ?? []), ...(spec.initContainers ?? []), spec];
  return new Set([
    ...holders.flatMap(({ resources }) => [
      ...Object.keys(resources?.requests ?? {}),
      ...Object.keys(resources?.limits ?? {}),
    ]),
    ...Object.keys(spec.overhead ?? {}),
  ]);
}

function amountsOf(spec: CountedPodSpec, kind: Kind, names: readonly string[]): Thousandths {
  const amounts = names.map((name) => [name, amountOf(spec, kind, name)] as const);
  return Object.fromEntries(amounts.filter(([, amount]) => amount > 0n));
}

const asksForCompute = (requirements: Requirements): boolean =>
  ["cpu", "memory"].some((name) =>
    (["requests", "limits"] as const).some((kind) => (stated(requirements, kind, name) ?? 0n) > 0n),
  );

/** Its quality of service: it asks for no CPU and no memory. */
function isBestEffort(spec: CountedPodSpec): boolean {
  const { requests = {}, limits = {} } = spec.resources ?? {};
  if (Object.keys({ ...requests, ...limits }).some(isOfPod)) return !asksForCompute(spec.resources);
  const containers = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  return !containers.some(({ resources }) => asksForCompute(resources));
}

interface AffinityTerm {
  readonly namespaces?: readonly string[];
  readonly namespaceSelector?: object | null;
}

interface PodAffinity {
  readonly requiredDuringSchedulingIgnoredDuringExecution?: readonly AffinityTerm[];
  readonly preferredDuringSchedulingIgnoredDuringExecution?: readonly {
    readonly podAffinityTerm?: AffinityTerm;
  }[];
}

const crossesNamespaces = ({ namespaces = [], namespaceSelector }: AffinityTerm): boolean =>
  namespaces.length > 0 || (namespaceSelector !== undefined && namespaceSelector !== null);

function hasCrossNamespaceAffinity({ affinity = {} }: CountedPodSpec): boolean {
  return [affinity["podAffinity"], affinity["podAntiAffinity"]].some((value) => {
    const {
      requiredDuringSchedulingIgnoredDuringExecution: required = [],
      preferredDuringSchedulingIgnoredDuringExecution: preferred = [],
    } = (value ?? {}) as PodAffinity;
    const terms = [...required, ...preferred.map(({ podAffinityTerm = {} }) => podAffinityTerm)];
    return terms.some(crossesNamespaces);
  });
}

function scopesOf(spec: CountedPodSpec): readonly PodScope[] {
  return [
    (spec.activeDeadlineSeconds ?? -1) >= 0 ? "Terminating" : "NotTerminating",
    isBestEffort(spec) ? "BestEffort" : "NotBestEffort",
    ...(hasCrossNamespaceAffinity(spec) ? (["CrossNamespacePodAffinity"] as const) : []),
  ];
}

/** Throws RangeError on a malformed quantity. */
export function podUsage(spec: CountedPodSpec): PodUsage {
  const names = [...namesIn(spec)].toSorted();
  return {
    requests: amountsOf(spec, "requests", names),
    limits: amountsOf(spec, "limits", names.filter(isLimited)),
    scopes: scopesOf(spec),
    priorityClassName: spec.priorityClassName ?? "",
  };
}
