/**
 * The requests of a pod as kube-scheduler and the kubelet compute them: containers and sidecars together, or the largest
 * init container with the sidecars started before it, whichever is more; pod-level requests instead of that; plus
 * overhead (KEP-753, KEP-2837, KEP-688). During an in-place resize the maximum of requested, allocated and actual
 * resources counts (KEP-1287).
 */
import { parseBytes, parseCount, parseCpuMillis, saturate } from "./quantity.ts";

export interface PodDemand {
  readonly gpus: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
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

const parsers: Readonly<Record<string, (text: string) => number>> = {
  cpu: parseCpuMillis,
  memory: parseBytes,
};

/** A limit without a request counts as the request, as the API server defaults it. */
function asked(requirements: Requirements | undefined, resource: string): number | undefined {
  const value = requirements?.requests?.[resource] ?? requirements?.limits?.[resource];
  if (value === undefined) return undefined;
  return parse(resource, value);
}

const parse = (resource: string, value: string | number): number =>
  (parsers[resource] ?? parseCount)(String(value));

const ofContainer = ({ resources, granted = [] }: Container, resource: string): number =>
  Math.max(
    asked(resources, resource) ?? 0,
    ...granted.map((requests) => asked({ requests }, resource) ?? 0),
  );

function askedOfPod(spec: DemandingPodSpec, resource: string): number {
  const running = (spec.containers ?? []).reduce(
    (sum, container) => sum + ofContainer(container, resource),
    0,
  );
  let sidecars = 0;
  let initial = 0;
  for (const container of spec.initContainers ?? []) {
    const amount = ofContainer(container, resource);
    if (container.restartPolicy === "Always") sidecars += amount;
    initial = Math.max(
      initial,
      container.restartPolicy === "Always" ? sidecars : sidecars + amount,
    );
  }
  const ofContainers = Math.max(running + sidecars, initial);
  const overhead = asked({ requests: spec.overhead ?? {} }, resource) ?? 0;
  return saturate((asked(spec.resources, resource) ?? ofContainers) + overhead);
}

/** Amounts saturate (`maxAmount`). Throws RangeError on a malformed quantity. */
export function podDemand(spec: DemandingPodSpec, gpuResource: string): PodDemand {
  return {
    gpus: askedOfPod(spec, gpuResource),
    cpuMillis: askedOfPod(spec, "cpu"),
    memoryBytes: askedOfPod(spec, "memory"),
  };
}
