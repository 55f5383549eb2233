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

/** Conditions of a page on the key of a decision; its parameters are those of preemptionPage. */
const isInPage = (id: string): string => `
  ($2::timestamptz IS NULL OR decided_at >= $2)
  AND ($3::timestamptz IS NULL OR (decided_at, ${id}) < ($3, $4::uuid))`;

const newest = "ORDER BY decided_at DESC, id DESC LIMIT $5";

/**
 * A page of decisions, newest first, with a preemptor or victim in these namespaces. Each namespace is read by its own
 * indexes: the cost does not depend on other projects' history.
 */
export function preemptionPage(
  db: Queryable,
  { namespaces, since, limit, after }: PreemptionFilter,
): Promise<Page<PreemptionRow, PreemptionKey>> {
  return readPage<PreemptionRow, PreemptionRow, PreemptionKey>(db, {
    text: `
    WITH page AS (
      SELECT DISTINCT decided_at, id
      FROM (
        (
          SELECT decided_at, id FROM preemptions
          WHERE $1::text[] IS NULL AND ${isInPage("id")}
          ${newest}
        )
        UNION ALL
        SELECT decision.* FROM unnest($1::text[]) AS visible (name)
        CROSS JOIN LATERAL (
          SELECT decided_at, id FROM preemptions
          WHERE preemptor_namespace = visible.name AND ${isInPage("id")}
          ${newest}
        ) AS decision
        UNION ALL
        SELECT decision.* FROM unnest($1::text[]) AS visible (name)
        CROSS JOIN LATERAL (
          SELECT DISTINCT decided_at, preemption_id AS id FROM preemption_victims
          WHERE namespace = visible.name AND ${isInPage("preemption_id")}
          ${newest}
        ) AS decision
      ) AS decision
      ${newest}
    )
    SELECT preemption.id, preemption.decided_at AS "decidedAt", preemption.pool, preemption.preemptor,
      preemption.rule, preemption.reason, preemption.outcome, preemption.settled_at AS "settledAt",
      preemption.alternatives, list.victims
    FROM page
    CROSS JOIN LATERAL (SELECT * FROM preemptions WHERE id = page.id LIMIT 1) AS preemption
    CROSS JOIN LATERAL (
      SELECT json_agg(
        json_build_object(
          'job', victim, 'attempt', victim_attempt, 'pods', pods, 'gpus', gpus, 'nodes', nodes, 'rule', rule,
          'outcome', outcome, 'evictedAt', to_char(evicted_at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        ) ORDER BY victim
      ) AS victims
      FROM preemption_victims
      WHERE preemption_id = preemption.id
    ) AS list
    ORDER BY preemption.decided_at DESC, preemption.id DESC
    `,
    values: [namespaces, since ?? null, after?.[0] ?? null, after?.[1] ?? null],
    limit,
    keyOf: ({ decidedAt, id }) => [decidedAt.toString(), id],
    show: (row) => ({ ...row, victims: row.victims ?? [] }),
  });
}
