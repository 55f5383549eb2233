/** Which jobs and nodes a caller may see. */
import type { VisibleNamespaces } from "../../db/reports/page.ts";
import { namespaceOf, type MaySee } from "../../domain/redaction.ts";

/** Tests whether a job, as namespace/name, is in one of the namespaces. */
export const seenBy =
  (namespaces: VisibleNamespaces): MaySee =>
  (job) =>
    namespaces === null || namespaces.includes(namespaceOf(job));

export interface Sight {
  readonly maySee: MaySee;
  readonly maySeeNodes: boolean;
}

/** The nodes of a job, for callers who may see the job or all nodes. */
export const nodesSeen = (
  { maySee, maySeeNodes }: Sight,
  job: string,
  nodes: readonly string[],
): string[] => (maySeeNodes || maySee(job) ? [...nodes] : []);
