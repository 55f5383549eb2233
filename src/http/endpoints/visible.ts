/** What callers see of jobs that are not theirs. */
import type { VisibleNamespaces } from "../../db/reports/page.ts";

/** Whether a job, as namespace/name, is in a namespace that the caller may see. */
export function isVisible(namespaces: VisibleNamespaces, job: string): boolean {
  return namespaces === null || namespaces.includes(job.slice(0, job.indexOf("/")));
}
