import { z } from "zod";
import type { VisibleNamespaces } from "../../db/reports/page.ts";
import { preemptionPage, type PreemptionRow } from "../../db/reports/preemption-page.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import type { ApiContext, Handler } from "./types.ts";
import { isVisible } from "./visible.ts";

const key = z.tuple([z.iso.datetime({ offset: true }), z.uuid()]);

/**
 * Who sees a victim has read the sentence in its status, with the preemptor's name; who sees the preemptor alone has
 * not, and it names others' jobs. Alternatives name jobs that had no part in it.
 */
function shown(row: PreemptionRow, namespaces: VisibleNamespaces) {
  const sees = (job: string) => isVisible(namespaces, job);
  const seesVictim = row.victims.some(({ job }) => sees(job));
  return {
    ...row,
    decidedAt: row.decidedAt.toString(),
    settledAt: row.settledAt?.toString() ?? null,
    preemptor: row.preemptor !== null && (seesVictim || sees(row.preemptor)) ? row.preemptor : null,
    reason: seesVictim ? row.reason : null,
    victims: row.victims.map((victim) => ({
      ...victim,
      job: sees(victim.job) ? victim.job : null,
      nodes: [...victim.nodes],
    })),
    alternatives: row.alternatives.map(({ description, pods = 0 }) => ({
      description: namespaces === null ? (description ?? null) : null,
      pods,
    })),
  };
}

export const preemptions =
  ({ db, access }: ApiContext): Handler<"preemptions"> =>
  async ({ caller, query }) => {
    const namespaces = await access.namespacesFor(caller, query.namespace);
    const visible = await access.visibleAround(caller, query.namespace);
    const after = decodeCursor(query.cursor, key);
    const { rows, next } = await preemptionPage(db, {
      namespaces,
      limit: query.limit,
      since: query.since,
      after,
    });
    return { items: rows.map((row) => shown(row, visible)), next: nextCursor(next) };
  };
