/** The configurations that jobs need in their namespaces. */
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

export interface ConfigUse {
  readonly namespace: string;
  readonly hash: string;
  /** True if a job that refers to it has pods or is starting; false if all such jobs are waiting. */
  readonly isLive: boolean;
}

/** Configurations referred to by unfinished jobs of these namespaces, and not expunged. One statement. */
export function readConfigUses(db: Queryable, namespaces: readonly string[]): Promise<ConfigUse[]> {
  return run<ConfigUse>(
    db,
    `
    SELECT job.namespace, job.config_hash AS hash, bool_or(job_is_live(job.status)) AS "isLive"
    FROM projects AS project
    JOIN jobs AS job ON job.active_project_id = project.id
    WHERE project.namespace = ANY ($1::text[]) AND job.config_hash IS NOT NULL
      AND NOT EXISTS (SELECT FROM config_blobs WHERE hash = job.config_hash AND expunged_at IS NOT NULL)
    GROUP BY job.namespace, job.config_hash
    `,
    [namespaces],
  );
}
