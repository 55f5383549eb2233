/** Which jobs a caller may see. */
import type { VisibleNamespaces } from "../../db/reports/page.ts";
import { namespaceOf, type MaySee } from "../../domain/redaction.ts";

/** Tests whether a job, as namespace/name, is in one of the namespaces. */
export const seenBy =
  (namespaces: VisibleNamespaces): MaySee =>
  (job) =>
    namespaces === null || namespaces.includes(namespaceOf(job));
