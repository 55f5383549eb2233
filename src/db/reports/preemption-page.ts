/** The preemption log, for the HTTP API. */
import type { Queryable } from "../client/types.ts";
import { readPage, type Page, type PageRequest, type VisibleNamespaces } from "./page.ts";

export interface VictimRow {
  /** namespace/name */
  readonly job: string;
  readonly attempt: number;
  readonly pods: number;
  readonly gpus: number;
  readonly nodes: readonly string[];
  readonly rule: string;
  readonly outcome: "Evicted" | "Finished" | "Cancelled" | "EvictionCancelled" | null;
  readonly evictedAt: string | null;
}

export interface PreemptionRow {
  readonly id: string;
  readonly decidedAt: Temporal.Instant;
  readonly pool: string;
  /** namespace/name; null when a window closed. */
  readonly preemptor: string | null;
  readonly rule: string;
  readonly reason: string;
  readonly outcome: "Started" | "Released" | "Ended" | null;
  readonly settledAt: Temporal.Instant | null;
  readonly victims: readonly VictimRow[];
  readonly alternatives: readonly { readonly description?: string; readonly pods?: number }[];
}

export type PreemptionKey = readonly [decidedAt: string, id: string];

export interface PreemptionFilter extends PageRequest<PreemptionKey> {
  readonly namespaces: VisibleNamespaces;
  readonly since?: string | undefined;
}

/** A page of decisions, newest first, with a preemptor or victim in these namespaces. */
export function preemptionPage(
  db: Queryable,
  { namespaces, since, limit, after }: PreemptionFilter,
): Promise<Page<PreemptionRow, PreemptionKey>> {
  return readPage<PreemptionRow, PreemptionRow, PreemptionKey>(db, {
    text: `
    SELECT preemption.id, preemption.decided_at AS "decidedAt", preemption.pool, preemption.preemptor,
      preemption.rule, preemption.reason, preemption.outcome, preemption.settled_at AS "settledAt",
      preemption.alternatives, list.victims
    FROM preemptions AS preemption
    CROSS JOIN LATERAL (
      SELECT json_agg(
        json_build_object(
          'job', victim, 'attempt', victim_attempt, 'pods', pods, 'gpus', gpus, 'nodes', nodes, 'rule', rule,
          'outcome', outcome, 'evictedAt', to_char(evicted_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) ORDER BY victim
      ) AS victims,
      bool_or(split_part(victim, '/', 1) = ANY ($1::text[])) AS is_visible
      FROM preemption_victims
      WHERE preemption_id = preemption.id
    ) AS list
    WHERE ($1::text[] IS NULL OR list.is_visible OR split_part(preemption.preemptor, '/', 1) = ANY ($1))
      AND ($2::timestamptz IS NULL OR preemption.decided_at >= $2)
      AND ($3::timestamptz IS NULL OR (preemption.decided_at, preemption.id) < ($3, $4::uuid))
    ORDER BY preemption.decided_at DESC, preemption.id DESC
    LIMIT $5
    `,
    values: [namespaces, since ?? null, after?.[0] ?? null, after?.[1] ?? null],
    limit,
    keyOf: ({ decidedAt, id }) => [decidedAt.toString(), id],
    show: (row) => ({ ...row, victims: row.victims ?? [] }),
  });
}
