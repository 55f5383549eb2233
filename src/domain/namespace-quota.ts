/**
 * ResourceQuotas as far as they limit pods: which ones a pod counts under, for how much, and how much of them is used
 * (docs/decisions/0024). Pure.
 */
import { isDevice } from "./resource-names.ts";
import type { PodUsage, Thousandths } from "./pod-usage.ts";

/** Kubernetes core/v1 ScopedResourceSelectorRequirement. */
export interface ScopeSelector {
  readonly scopeName: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** A ResourceQuota, as admission sees it: its status. */
export interface NamespaceQuota {
  readonly namespace: string;
  readonly name: string;
  readonly hard: Thousandths;
  readonly used: Thousandths;
  /** All of them must match; none: every pod counts. */
  readonly selectors: readonly ScopeSelector[];
}

const requestPrefix = "requests.";
const limitPrefix = "limits.";
const computeNames: ReadonlySet<string> = new Set(["cpu", "memory", "ephemeral-storage"]);

const isHugePages = (name: string): boolean => name.startsWith("hugepages-");

/** What one pod counts for under an entry of `hard`, in thousandths; 0 where the entry does not count pods. */
export function usageUnder(entry: string, { requests, limits }: PodUsage): bigint {
  if (entry === "pods" || entry === "count/pods") return 1000n;
  if (computeNames.has(entry) || isHugePages(entry)) return requests[entry] ?? 0n;
  if (entry.startsWith(limitPrefix)) return limits[entry.slice(limitPrefix.length)] ?? 0n;
  if (!entry.startsWith(requestPrefix)) return 0n;
  const name = entry.slice(requestPrefix.length);
  const isCounted = computeNames.has(name) || isHugePages(name) || isDevice(name);
  return isCounted ? (requests[name] ?? 0n) : 0n;
}

function classMatches({ operator, values = [] }: ScopeSelector, className: string): boolean {
  if (operator === "Exists") return className !== "";
  if (operator === "DoesNotExist") return className === "";
  if (operator === "In") return values.includes(className);
  return operator === "NotIn" && !values.includes(className);
}

/** A scope that is not known matches no pod: its quota limits nothing here, and the API server has the last word. */
const matches = (selector: ScopeSelector, usage: PodUsage): boolean =>
  selector.scopeName === "PriorityClass"
    ? classMatches(selector, usage.priorityClassName)
    : usage.scopes.some((scope) => scope === selector.scopeName);

/** Whether such pods count under the quota. */
export const countsUnder = (
  { selectors }: Pick<NamespaceQuota, "selectors">,
  usage: PodUsage,
): boolean => selectors.every((selector) => matches(selector, usage));

/** A job of the namespace with pods, or for which pods are to be made: in any pool. */
export interface Occupant {
  readonly usage: PodUsage;
  /** Pods that are to be made, or that are not in the cache yet. */
  readonly missing: number;
  /** Pods in the cache that have neither ended nor been asked to leave. */
  readonly counted: number;
  /** All pods in the cache. */
  readonly existing: number;
}

/** A ResourceQuota with what is known of its use. */
export interface QuotaInUse {
  readonly quota: NamespaceQuota;
  /** By pods that exist, for certain. */
  readonly used: Thousandths;
  /** By pods that are decided, and may be in `used` already. */
  readonly pending: Thousandths;
}

function sumOver(
  entry: string,
  occupants: readonly Occupant[],
  podsOf: (occupant: Occupant) => number,
): bigint {
  return occupants.reduce(
    (sum, one) => sum + usageUnder(entry, one.usage) * BigInt(podsOf(one)),
    0n,
  );
}

/**
 * `status.used` and the pods in the cache come from two watches, so either may be ahead: the larger count is the one
 * that has seen more pods. What ends lowers the first one later, as it does for the API server.
 */
export function quotaInUse(quota: NamespaceQuota, occupants: readonly Occupant[]): QuotaInUse {
  const counting = occupants.filter(({ usage }) => countsUnder(quota, usage));
  const entries = Object.keys(quota.hard).map((entry) => {
    const told = quota.used[entry] ?? 0n;
    const seen = sumOver(entry, counting, ({ counted, existing }) =>
      entry === "count/pods" ? existing : counted,
    );
    const pending = sumOver(entry, counting, ({ missing }) => missing);
    return { entry, used: told > seen ? told : seen, pending };
  });
  return {
    quota,
    used: Object.fromEntries(entries.map(({ entry, used }) => [entry, used])),
    pending: Object.fromEntries(entries.map(({ entry, pending }) => [entry, pending])),
  };
}
