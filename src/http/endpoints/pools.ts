import { z } from "zod";
import { nodePage, poolPage } from "../../db/reports/usage-page.ts";
import { listNodes } from "../authorization.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import type { ApiContext, Handler } from "./types.ts";

/** Sums do not reveal single jobs: every user of the cluster may see them. */
export const pools =
  ({ db }: ApiContext): Handler<"pools"> =>
  async ({ query }) => {
    const after = decodeCursor(query.cursor, z.string());
    const { rows, next } = await poolPage(db, { ...query, after });
    return { items: [...rows], next: nextCursor(next) };
  };

export const nodes =
  ({ db, access }: ApiContext): Handler<"nodes"> =>
  async ({ caller, query }) => {
    await access.require(caller, listNodes);
    const after = decodeCursor(query.cursor, z.string());
    const { rows, next } = await nodePage(db, { ...query, after });
    return { items: [...rows], next: nextCursor(next) };
  };
