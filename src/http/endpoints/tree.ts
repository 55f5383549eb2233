import { z } from "zod";
import { projectPage } from "../../db/reports/project-page.ts";
import { secondOfWeek } from "../../domain/windows.ts";
import { decodeCursor, nextCursor } from "../cursor.ts";
import type { ApiContext, Handler } from "./types.ts";

const key = z.string().regex(/^[a-z0-9_]+(\.[a-z0-9_]+)*$/);

export const tree =
  ({ db, access, clock, settings }: ApiContext): Handler<"tree"> =>
  async ({ caller, query }) => {
    const { rows, next } = await projectPage(db, {
      ...query,
      namespaces: await access.visibleNamespaces(caller),
      after: decodeCursor(query.cursor, key),
      secondOfWeek: secondOfWeek(clock.now(), settings.timeZone),
    });
    return { items: [...rows], next: nextCursor(next) };
  };
