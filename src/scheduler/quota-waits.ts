/**
 * Which pools have jobs that a ResourceQuota holds back, by namespace: when the quota gets room, only these decide
 * again.
 */
import { namespaceOf } from "../domain/redaction.ts";
import type { Decision } from "../domain/scheduling/decision.ts";
import type { Snapshot } from "../domain/scheduling/snapshot.ts";

/** The namespaces with ResourceQuotas in which a job waits for a quota. */
export function heldBackIn(
  { queue, namespaceQuotas = [] }: Pick<Snapshot, "queue" | "namespaceQuotas">,
  { verdicts }: Pick<Decision, "verdicts">,
): ReadonlySet<string> {
  const waiting = new Set(
    verdicts.flatMap((verdict) =>
      verdict.kind === "wait" && verdict.reason === "QuotaExceeded" ? [verdict.jobId] : [],
    ),
  );
  const waitingIn = new Set(
    queue.filter(({ id }) => waiting.has(id)).map(({ key }) => namespaceOf(key)),
  );
  return waitingIn.intersection(new Set(namespaceQuotas.map(({ quota }) => quota.namespace)));
}

export class QuotaWaits {
  /** Undefined: not known, since a cycle is under way or has failed. */
  readonly #namespaces = new Map<string, ReadonlySet<string> | undefined>();

  /** Call it before a cycle reads ResourceQuotas: a change from now on is for the next cycle. */
  begin(pool: string): void {
    this.#namespaces.set(pool, undefined);
  }

  record(pool: string, namespaces: ReadonlySet<string>): void {
    this.#namespaces.set(pool, namespaces);
  }

  clear(): void {
    this.#namespaces.clear();
  }

  /** The pools in which a job of the namespace waits, or may wait. */
  poolsOf(namespace: string): readonly string[] {
    return [...this.#namespaces]
      .filter(([, waiting]) => waiting?.has(namespace) ?? true)
      .map(([pool]) => pool);
  }
}
