import { z } from "zod";
import { jobStates } from "../../api/job-states.ts";
import { queuePage, type QueueRow } from "../../db/reports/queue-page.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import type { ApiContext, Handler } from "./types.ts";

const key = z.tuple([z.string(), z.int()]);

const queuedJob = ({ status, parallelism, queuedAt, notBefore, ...row }: QueueRow) => ({
  ...row,
  state: jobStates[status],
  pods: parallelism,
  queuedAt: queuedAt.toString(),
  notBefore: notBefore?.toString() ?? null,
});

export const queue =
  ({ db, access }: ApiContext): Handler<"queue"> =>
  async ({ caller, query }) => {
    const namespaces = await access.namespacesFor(caller, query.namespace);
    const after = decodeCursor(query.cursor, key);
    const { rows, next } = await queuePage(db, { ...query, namespaces, after });
    return { items: rows.map(queuedJob), next: nextCursor(next) };
  };
