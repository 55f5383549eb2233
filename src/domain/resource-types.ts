/**
 * What plans grant: `GPU`, `CPU`, `memory`, or an extended resource by its Kubernetes name. Which of them are metered:
 * GPUs, every other extended resource unless a pattern exempts it, and what any plan of the pool names. Pure.
 */
import { isDevice } from "./resource-names.ts";

/** `GPU`, `CPU`, `memory`, or the name of an extended resource. */
export type ResourceType = string;

const units: Readonly<Record<ResourceType, number>> = { CPU: 1000, memory: 2 ** 30 };

/**
 * Plans grant GPUs, cores, GiB or devices; demands are in GPUs, millicores, bytes or devices. How many of the latter one
 * of the former is; the function plan_unit of the database says the same.
 */
export const unitOf = (type: ResourceType): number => units[type] ?? 1;

/** The amount in the unit of a plan's quantity, possibly fractional. */
export const inQuantity = (type: ResourceType, amount: number): number => amount / unitOf(type);

/** The type of plans that grant a resource without a field of its own; undefined if none can. */
export function typeOfOther(
  name: string,
  gpuResources: readonly string[],
): ResourceType | undefined {
  if (gpuResources.includes(name)) return "GPU";
  return isDevice(name) ? name : undefined;
}

/** A pattern of names, in which a star stands for any characters, as a pattern of LIKE. */
export const likePattern = (pattern: string): string =>
  pattern.replaceAll(/[\\%_]/g, String.raw`\$&`).replaceAll("*", "%");

/** The sum of some device-plugin resources. */
export const sumOf = (
  byName: Readonly<Record<string, number>> | undefined,
  names: readonly string[],
): number => names.reduce((sum, name) => sum + (byName?.[name] ?? 0), 0);
