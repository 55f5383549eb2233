/** A ResourceQuota that has no room for a job, in one sentence. */
import { exactMillis } from "./quantity.ts";
import { isInBytes } from "./resource-names.ts";
import { memoryText } from "./text.ts";

export interface ExceededEntry {
  /** namespace/name of the ResourceQuota. */
  readonly key: string;
  /** Name in its `hard`. */
  readonly entry: string;
  /** In thousandths, like `limit` and `need`. */
  readonly used: bigint;
  readonly limit: bigint;
  /** Of the whole gang. */
  readonly need: bigint;
}

function amountText(entry: string, thousandths: bigint): string {
  const name = entry.replace(/^(requests|limits)\./, "");
  const amount = Number(thousandths) / 1000;
  return name === "memory" || isInBytes(name) ? memoryText(amount) : String(amount);
}

/**
 * "ResourceQuota team/gpus: requests.nvidia.com/gpu 8 of 8 used, the job needs 4"; of one that can never hold the job,
 * "ResourceQuota team/gpus: requests.nvidia.com/gpu at most 5, the job needs 8".
 */
export function namespaceQuotaText({ key, entry, used, limit, need }: ExceededEntry): string {
  const text = (amount: bigint): string => amountText(entry, amount);
  const state = need > limit ? `at most ${text(limit)}` : `${text(used)} of ${text(limit)} used`;
  return `ResourceQuota ${key}: ${entry} ${state}, the job needs ${text(need)}`;
}

/** The API server's refusal of one pod. */
export interface QuotaRefusal {
  /** Of the ResourceQuota. */
  readonly name: string;
  /** Those that are exceeded, in thousandths. */
  readonly entries: readonly {
    readonly entry: string;
    readonly requested: bigint;
    readonly used: bigint;
    readonly limit: bigint;
  }[];
}

const refusalPattern = /exceeded quota: (\S+), requested: (\S+), used: (\S+), limited: (\S+)/;

/** "requests.cpu=4,pods=1" */
function amountsIn(text: string): ReadonlyMap<string, bigint> {
  const pairs = text.split(",").map((pair) => {
    const at = pair.lastIndexOf("=");
    return [pair.slice(0, at), exactMillis(pair.slice(at + 1))] as const;
  });
  return new Map(pairs);
}

/** Undefined if it refuses the pod for another reason. */
export function quotaRefusalOf(explanation: string): QuotaRefusal | undefined {
  const [, name, requested = "", used = "", limited = ""] = refusalPattern.exec(explanation) ?? [];
  if (name === undefined) return undefined;
  const entries = [...amountsIn(requested)].map(([entry, amount]) => ({
    entry,
    requested: amount,
    used: amountsIn(used).get(entry) ?? 0n,
    limit: amountsIn(limited).get(entry) ?? 0n,
  }));
  return { name, entries };
}

/** Tells of the whole gang. */
export function quotaRefusalText(
  { name, entries }: QuotaRefusal,
  namespace: string,
  parallelism: number,
): string {
  const exceeded = entries.map(({ requested, ...entry }) => ({
    ...entry,
    key: `${namespace}/${name}`,
    need: requested * BigInt(parallelism),
  }));
  const worst = exceeded.find(({ need, limit }) => need > limit) ?? exceeded[0];
  return worst === undefined
    ? `ResourceQuota ${namespace}/${name} is used up`
    : namespaceQuotaText(worst);
}
