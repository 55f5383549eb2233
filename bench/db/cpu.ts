/** CPU time of a run, the measure that other work on the machine disturbs least. */
import { readFileSync } from "node:fs";
import type { Pool } from "pg";

export interface Cost {
  readonly jobsPerSecond: number;
  /** CPU microseconds per job of this process, which is the client. */
  readonly clientCpuMicros: number;
  /** The same of the server's processes for connections; absent when they are not on this machine. */
  readonly serverCpuMicros?: number;
}

/** Nanoseconds on a CPU, the first field of schedstat. */
function cpuNanosOf(pid: number): number | undefined {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[0]);
  } catch {
    return undefined; // another machine or system, or a connection that has just been closed
  }
}

async function serverCpuNanos(pool: Pool): Promise<ReadonlyMap<number, number>> {
  const { rows } = await pool.query<{ pid: number }>(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'",
  );
  return new Map(
    rows.flatMap(({ pid }) => {
      const nanos = cpuNanosOf(pid);
      return nanos === undefined ? [] : [[pid, nanos] as const];
    }),
  );
}

/** Runs the work and tells what a job cost. It answers how many jobs it did, and keeps its connections open. */
export async function measureCost(pool: Pool, work: () => Promise<number>): Promise<Cost> {
  const serverBefore = await serverCpuNanos(pool);
  const clientBefore = process.cpuUsage();
  const began = performance.now();
  const jobs = await work();
  const seconds = (performance.now() - began) / 1000;
  const client = process.cpuUsage(clientBefore);
  const serverAfter = await serverCpuNanos(pool);
  const nanos = [...serverAfter].map(([pid, after]) => after - (serverBefore.get(pid) ?? 0));
  return {
    jobsPerSecond: jobs / seconds,
    clientCpuMicros: (client.user + client.system) / jobs,
    ...(nanos.length === 0
      ? {}
      : { serverCpuMicros: nanos.reduce((sum, one) => sum + one, 0) / 1000 / jobs }),
  };
}
