/**
 * ResourceQuotas of namespaces during a decision: a gang that does not fit does not start, and what starts uses up what
 * others of its namespace may have.
 */
import { countsUnder, type QuotaInUse, usageUnder } from "../namespace-quota.ts";
import { namespaceQuotaText } from "../namespace-quota-text.ts";
import type { PodUsage, Thousandths } from "../pod-usage.ts";
import { namespaceOf } from "../redaction.ts";

/** A job whose pods count under the quotas of its namespace. */
interface Counted {
  /** namespace/name */
  readonly key: string;
  /** Absent: its pods count under none. */
  readonly podUsage?: PodUsage;
}

interface State {
  readonly inUse: QuotaInUse;
  /** The names in its `hard`. */
  readonly entries: readonly string[];
  pending: Thousandths;
}

interface Excess {
  readonly state: State;
  readonly entry: string;
  readonly need: bigint;
}

const limitOf = ({ state, entry }: Pick<Excess, "state" | "entry">): bigint =>
  state.inUse.quota.hard[entry] ?? 0n;

export class NamespaceQuotas {
  readonly #states: ReadonlyMap<string, readonly State[]>;

  constructor(quotas: readonly QuotaInUse[] = []) {
    const states = quotas.map((inUse) => ({
      inUse,
      entries: Object.keys(inUse.quota.hard).toSorted(),
      pending: inUse.pending,
    }));
    this.#states = Map.groupBy(states, ({ inUse }) => inUse.quota.namespace);
  }

  /** Why the gang cannot start now; undefined: its namespace's quotas have room for it. */
  obstacle(job: Counted, pods: number): string | undefined {
    return this.#textOf(job, pods, ({ inUse, pending }, entry) => {
      return (inUse.used[entry] ?? 0n) + (pending[entry] ?? 0n);
    });
  }

  /** Why the API server would refuse the pods of a job that counts as pending itself; undefined: it would not. */
  refusal(job: Counted, pods: number): string | undefined {
    return this.#textOf(job, pods, ({ inUse }, entry) => inUse.used[entry] ?? 0n);
  }

  /** So many pods are to be made. */
  charge(job: Counted, pods: number): void {
    const { podUsage: usage } = job;
    if (usage === undefined) return;
    for (const state of this.#of(job)) {
      const entries = state.entries.map((entry) => {
        const more = usageUnder(entry, usage) * BigInt(pods);
        return [entry, (state.pending[entry] ?? 0n) + more] as const;
      });
      state.pending = Object.fromEntries(entries);
    }
  }

  #of(job: Counted): readonly State[] {
    const { podUsage } = job;
    if (podUsage === undefined) return [];
    const states = this.#states.get(namespaceOf(job.key)) ?? [];
    return states.filter(({ inUse }) => countsUnder(inUse.quota, podUsage));
  }

  /** Names what can never hold the gang rather than what is used up now. */
  #textOf(
    job: Counted,
    pods: number,
    usedOf: (state: State, entry: string) => bigint,
  ): string | undefined {
    const exceeded = this.#needs(job, pods).filter((one) => {
      return usedOf(one.state, one.entry) + one.need > limitOf(one);
    });
    const worst = exceeded.find((one) => one.need > limitOf(one)) ?? exceeded[0];
    if (worst === undefined) return undefined;
    const { state, entry, need } = worst;
    const { namespace, name } = state.inUse.quota;
    const used = usedOf(state, entry);
    return namespaceQuotaText({
      key: `${namespace}/${name}`,
      entry,
      used,
      limit: limitOf(worst),
      need,
    });
  }

  /** As the API server, it minds no quota of which the pods use nothing, even where that is exceeded. */
  #needs(job: Counted, pods: number): readonly Excess[] {
    const { podUsage: usage } = job;
    if (usage === undefined) return [];
    return this.#of(job).flatMap((state) =>
      state.entries
        .map((entry) => ({ state, entry, need: usageUnder(entry, usage) * BigInt(pods) }))
        .filter(({ need }) => need > 0n),
    );
  }
}
