/** What callers see of jobs that are not theirs. */
import type { VisibleNamespaces } from "../../db/reports/page.ts";
import { namespaceOf, type MaySee } from "../../domain/redaction.ts";

/** Whether a job, as namespace/name, is in a namespace that the caller may see. */
export const seenBy =
  (namespaces: VisibleNamespaces): MaySee =>
  (job) =>
    namespaces === null || namespaces.includes(namespaceOf(job));
