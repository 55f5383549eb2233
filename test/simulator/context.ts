/** What all that act in a simulation share. */
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import type { Random } from "./random.ts";
import type { PoolName } from "./topology.ts";
import type { Timeline } from "./timeline.ts";

export interface Stage {
  readonly db: DatabasePool;
  readonly random: Random;
  readonly timeline: Timeline;
}

export interface JobRow {
  readonly id: string;
  readonly name: string;
  readonly pool: PoolName;
  readonly status: string;
  readonly attempt: number;
  readonly failures: number;
  readonly backoff_limit: number;
  readonly max_runtime_seconds: number | null;
  readonly suspended: boolean;
  readonly gpus: number;
}

export async function jobsIn(db: Queryable, statuses: readonly string[]): Promise<JobRow[]> {
  const { rows } = await db.query<JobRow>(
    "SELECT * FROM jobs WHERE status = ANY ($1::job_status[]) ORDER BY name",
    [statuses],
  );
  return rows;
}
