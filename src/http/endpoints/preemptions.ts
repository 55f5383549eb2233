import { z } from "zod";
import { requestedTime } from "../../api/http/schemas.ts";
import type { VisibleNamespaces } from "../../db/reports/page.ts";
import { preemptionPage, type PreemptionRow } from "../../db/reports/preemption-page.ts";
import { redactJobs } from "../../domain/redaction.ts";
import { listNodes } from "../authorization.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import type { ApiContext, Handler } from "./types.ts";
import { nodesSeen, seenBy } from "./visible.ts";

const key = z.tuple([requestedTime, z.uuid()]);

/** Redacted for the caller. Alternatives name uninvolved jobs, so only users who see all jobs get them. */
function shown(row: PreemptionRow, namespaces: VisibleNamespaces, maySeeNodes: boolean) {
  const sees = seenBy(namespaces);
  const jobs = [
    ...(row.preemptor === null ? [] : [row.preemptor]),
    ...row.victims.map(({ job }) => job),
  ];
  return {
    ...row,
    decidedAt: row.decidedAt.toString(),
    settledAt: row.settledAt?.toString() ?? null,
    preemptor: row.preemptor !== null && sees(row.preemptor) ? row.preemptor : null,
    reason: redactJobs(sees, row.reason, jobs),
    victims: row.victims.map((victim) => ({
      ...victim,
      job: sees(victim.job) ? victim.job : null,
      nodes: nodesSeen({ maySee: sees, maySeeNodes }, victim.job, victim.nodes),
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
    const maySeeNodes = await access.may(caller, listNodes);
    return { items: rows.map((row) => shown(row, visible, maySeeNodes)), next: nextCursor(next) };
  };
