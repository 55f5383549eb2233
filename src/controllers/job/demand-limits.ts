/**
 * Upper limits of one job's requests: larger amounts are typing errors, and their sums would overflow columns. Pure.
 */
import { podDemand, otherNamesOf } from "../../domain/pod-demand.ts";
import type { DemandingPodSpec } from "../../domain/pod-demand.ts";
import { maxAmount, parseBytes, parseCount, parseCpuMillis } from "../../domain/quantity.ts";
import { isInBytes, parseOther } from "../../domain/resource-names.ts";
import { sumOf } from "../../domain/resource-types.ts";
import { gpusText } from "../../domain/text.ts";
import { refuse } from "./rejection.ts";
import type { Rejection } from "./rejection.ts";

/** GPUs of a whole gang: the maximum of an integer column. */
const maxGangGpus = 2 ** 31 - 1;

interface Limit {
  readonly resource: string;
  /** For the message, in the usual unit of the resource. */
  readonly bound: string;
  readonly isExceededBy: (quantity: string) => boolean;
}

const limitsOf = (spec: DemandingPodSpec, gpuResource: string): readonly Limit[] => [
  {
    resource: gpuResource,
    bound: String(maxGangGpus + 1),
    isExceededBy: (text) => parseCount(text) > maxGangGpus,
  },
  { resource: "cpu", bound: "500G", isExceededBy: (text) => parseCpuMillis(text) >= 5e14 },
  { resource: "memory", bound: "512Ti", isExceededBy: (text) => parseBytes(text) >= maxAmount },
  ...otherNamesOf(spec, gpuResource).map((resource) => ({
    resource,
    bound: isInBytes(resource) ? "512Ti" : String(maxAmount),
    isExceededBy: (text: string) => parseOther(resource, text) >= maxAmount,
  })),
];

interface Quantity {
  readonly field: string;
  readonly text: string;
}

/** All amounts of the resource in a pod spec: of containers, of the pod itself, and its overhead. */
function quantitiesOf(spec: DemandingPodSpec, resource: string): Quantity[] {
  const holders = [
    { field: "resources", resources: spec.resources },
    { field: "overhead", resources: { requests: spec.overhead ?? {} } },
    ...(["containers", "initContainers"] as const).flatMap((list) =>
      (spec[list] ?? []).map(({ resources }, at) => ({
        field: `${list}[${at}].resources`,
        resources,
      })),
    ),
  ];
  return holders.flatMap(({ field, resources }) =>
    (["requests", "limits"] as const).flatMap((part) => {
      const value = resources?.[part]?.[resource];
      return value === undefined
        ? []
        : [{ field: `spec.template.spec.${field}.${part}[${resource}]`, text: String(value) }];
    }),
  );
}

function excessiveQuantity(spec: DemandingPodSpec, limit: Limit): Rejection | undefined {
  const found = quantitiesOf(spec, limit.resource).find(({ text }) => limit.isExceededBy(text));
  if (found === undefined) return undefined;
  return refuse("InvalidValue", `${found.field}: ${found.text} must be less than ${limit.bound}`);
}

/**
 * The rejection of a job that requests too much; undefined if it does not.
 * @param spec pod spec with the API server's defaults
 * @param gpuResources the resources that count as GPUs
 */
export function excessiveDemand(
  spec: DemandingPodSpec,
  parallelism: number,
  gpuResources: readonly string[],
): Rejection | undefined {
  const [gpuResource = "", ...otherGpus] = gpuResources;
  for (const limit of limitsOf(spec, gpuResource)) {
    const rejection = excessiveQuantity(spec, limit);
    if (rejection !== undefined) return rejection;
  }
  const demand = podDemand(spec, gpuResource);
  if (demand.cpuMillis >= maxAmount || demand.memoryBytes >= maxAmount) {
    return refuse(
      "InvalidValue",
      "spec.template.spec.containers: together they must request less than 500G cpu and 512Ti memory",
    );
  }
  const other = Object.entries(demand.byName ?? {}).find(([, amount]) => amount >= maxAmount);
  if (other !== undefined) {
    return refuse(
      "InvalidValue",
      `spec.template.spec.containers: together they must request less of ${other[0]}`,
    );
  }
  const podGpus = demand.gpus + sumOf(demand.byName, otherGpus);
  const gangGpus = podGpus * parallelism;
  if (gangGpus <= maxGangGpus) return undefined;
  return refuse(
    "InvalidValue",
    `spec.parallelism: ${parallelism} pods of ${gpusText(podGpus)} are ${gangGpus}; must be at most ${maxGangGpus}`,
  );
}
