/**
 * Resources of pods and nodes by name: which have fields of their own, and their units. Most names are Kubernetes'; the
 * names of exclusive resources are Rota's. Pure.
 */
import { parseBytes, parseCount } from "./quantity.ts";

/** ephemeral-storage and hugepages-* are in bytes, extended resources are counted. */
export const isInBytes = (name: string): boolean =>
  name === "ephemeral-storage" || name.startsWith("hugepages-");

/**
 * Whether it is what one pod at a time can have on a node, such as a host port. Every node has one of each name, though
 * none is recorded for it. No Kubernetes resource has a colon in its name.
 */
export const isExclusive = (name: string): boolean => name.includes(":");

/** What a node has of a resource in addition to its recorded amount: one of each that is exclusive. */
export const unrecordedAmount = (name: string): number => (isExclusive(name) ? 1 : 0);

const hostPort = "hostport";
const antiAffinity = "podantiaffinity";

/** The name of a host port, for example of TCP and 8080. */
export const hostPortName = (protocol: string, port: number): string =>
  `${hostPort}:${protocol}:${port}`;

/** The name that all pods with an equal required anti-affinity term have in common. */
export const antiAffinityName = (hash: string): string => `${antiAffinity}:${hash}`;

/** "host port 8080/TCP"; undefined for another resource. */
export function hostPortText(name: string): string | undefined {
  const [kind, protocol, port] = name.split(":");
  return kind === hostPort ? `host port ${port}/${protocol}` : undefined;
}

/** What a node has where an exclusive resource is in use: "host port 8080/TCP in use". */
export function inUseText(name: string): string {
  const port = hostPortText(name);
  return port === undefined ? "a pod that its anti-affinity excludes" : `${port} in use`;
}

/** Whether a pod's request for it decides where it fits, besides CPU, memory and GPUs, which have fields of their own. */
export const isOtherResource = (name: string, gpuResource: string): boolean =>
  name !== gpuResource && !isExclusive(name) && (isInBytes(name) || name.includes("/"));

/** Kubernetes' own resources, which are no extended ones: node agents of some schedulers advertise them. */
const isNative = (name: string): boolean => name.includes("kubernetes.io/");

/** An extended resource: what plans can grant by its name, and what is metered unless a pattern exempts it. */
export const isDevice = (name: string): boolean => /^[^/]+\/[^/]+$/.test(name) && !isNative(name);

/** An amount of such a resource, saturating. Throws RangeError on a malformed quantity. */
export const parseOther = (name: string, text: string): number =>
  isInBytes(name) ? parseBytes(text) : parseCount(text);
