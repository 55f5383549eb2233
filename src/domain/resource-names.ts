/** Resources of pods and nodes by their Kubernetes names: which have fields of their own, and their units. Pure. */
import { parseBytes, parseCount } from "./quantity.ts";

/** ephemeral-storage and hugepages-* are in bytes, extended resources are counted. */
export const isInBytes = (name: string): boolean =>
  name === "ephemeral-storage" || name.startsWith("hugepages-");

/** Whether a pod's request for it decides where it fits, besides CPU, memory and GPUs, which have fields of their own. */
export const isOtherResource = (name: string, gpuResource: string): boolean =>
  name !== gpuResource && (isInBytes(name) || name.includes("/"));

/** An extended resource: what plans can grant by its name, and what is metered unless a pattern exempts it. */
export const isDevice = (name: string): boolean => /^[^/]+\/[^/]+$/.test(name);

/** An amount of such a resource, saturating. Throws RangeError on a malformed quantity. */
export const parseOther = (name: string, text: string): number =>
  isInBytes(name) ? parseBytes(text) : parseCount(text);
