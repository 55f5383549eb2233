import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Keeps a job off nodes for some seconds from now. */
export async function avoidNodes(
  db: Queryable,
  jobId: string,
  nodes: readonly string[],
  seconds: number,
): Promise<void> {
  await run(
    db,
    `
    INSERT INTO avoided_nodes (job_id, node_name, until)
    SELECT id, node, now() + make_interval(secs => $3) FROM jobs, unnest($2::text[]) AS node WHERE id = $1
    ON CONFLICT ON CONSTRAINT avoided_nodes_pkey DO UPDATE SET until = excluded.until
    `,
    [jobId, nodes, seconds],
  );
}
