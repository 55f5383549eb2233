/**
 * The requests of a pod as kube-scheduler and the kubelet compute them: containers and sidecars together, or the largest
 * init container with the sidecars started before it, whichever is more; pod-level requests instead of that; plus
 * overhead (KEP-753, KEP-2837, KEP-688). During an in-place resize the maximum of requested, allocated and actual
 * resources counts (KEP-1287).
 */
import { parseBytes, parseCount, parseCpuMillis, saturate } from "./quantity.ts";
import { isOtherResource, parseOther } from "./resource-names.ts";

export interface PodDemand {
  readonly gpus: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** Every other resource that it requests, in order of the names, then exclusive resources; absent: none. */
  readonly byName?: Readonly<Record<string, number>>;
}

interface Requirements {
  readonly requests?: Readonly<Record<string, string | number>>;
  readonly limits?: Readonly<Record<string, string | number>>;
}

interface Container {
  readonly restartPolicy?: string;
  readonly resources?: Requirements;
  /** Allocated and actual resources, from its status. */
  readonly granted?: readonly Readonly<Record<string, string | number>>[];
}

/** The relevant fields of core/v1 PodSpec. */
export interface DemandingPodSpec {
  readonly containers?: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly resources?: Requirements;
  readonly overhead?: Readonly<Record<string, string | number>>;
}

type Parse = (text: string) => number;

/** A limit without a request counts as the request, as the API server defaults it. */
function asked(
  requirements: Requirements | undefined,
  resource: string,
  parse: Parse,
): number | undefined {
  const value = requirements?.requests?.[resource] ?? requirements?.limits?.[resource];
  return value === undefined ? undefined : parse(String(value));
}

const ofContainer = ({ resources, granted = [] }: Container, name: string, parse: Parse): number =>
  Math.max(
    asked(resources, name, parse) ?? 0,
    ...granted.map((requests) => asked({ requests }, name, parse) ?? 0),
  );

function askedOfPod(spec: DemandingPodSpec, resource: string, parse: Parse): number {
  const running = (spec.containers ?? []).reduce(
    (sum, container) => sum + ofContainer(container, resource, parse),
    0,
  );
  let sidecars = 0;
  let initial = 0;
  for (const container of spec.initContainers ?? []) {
    const amount = ofContainer(container, resource, parse);
    if (container.restartPolicy === "Always") sidecars += amount;
    initial = Math.max(
      initial,
      container.restartPolicy === "Always" ? sidecars : sidecars + amount,
    );
  }
  const ofContainers = Math.max(running + sidecars, initial);
  const overhead = asked({ requests: spec.overhead ?? {} }, resource, parse) ?? 0;
  return saturate((asked(spec.resources, resource, parse) ?? ofContainers) + overhead);
}

/** The names of all other resources that any part of the pod mentions, once each, in order. */
export function otherNamesOf(spec: DemandingPodSpec, gpuResource: string): readonly string[] {
  const holders = [
    spec.resources,
    ...[...(spec.containers ?? []), ...(spec.initContainers ?? [])].flatMap(
      ({ resources, granted = [] }): (Requirements | undefined)[] => [
        resources,
        ...granted.map((requests) => ({ requests })),
      ],
    ),
  ];
  const names = holders.flatMap((one) => [
    ...Object.keys(one?.requests ?? {}),
    ...Object.keys(one?.limits ?? {}),
  ]);
  return [...new Set([...names, ...Object.keys(spec.overhead ?? {})])]
    .filter((name) => isOtherResource(name, gpuResource))
    .toSorted();
}

function othersOf(spec: DemandingPodSpec, gpuResource: string): Pick<PodDemand, "byName"> {
  const amounts = otherNamesOf(spec, gpuResource)
    .map((name) => [name, askedOfPod(spec, name, (text) => parseOther(name, text))] as const)
    .filter(([, amount]) => amount > 0);
  return amounts.length === 0 ? {} : { byName: Object.fromEntries(amounts) };
}

/** Amounts saturate (`maxAmount`). Throws RangeError on a malformed quantity. */
export function podDemand(spec: DemandingPodSpec, gpuResource: string): PodDemand {
  return {
    gpus: askedOfPod(spec, gpuResource, parseCount),
    cpuMillis: askedOfPod(spec, "cpu", parseCpuMillis),
    memoryBytes: askedOfPod(spec, "memory", parseBytes),
    ...othersOf(spec, gpuResource),
  };
}
