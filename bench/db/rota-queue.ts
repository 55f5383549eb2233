/** Rota's queue: claim, admit with allocations and history, complete. */
import type { Pool } from "pg";
import { admitJobs } from "../../src/db/jobs/admit.ts";
import { endJobs } from "../../src/db/jobs/attempts.ts";
import { withTransaction } from "../../src/db/client/connection-pool.ts";
import { fetchNextJobs } from "../../src/db/jobs/queue.ts";
import { type Cost, measureCost } from "./cpu.ts";

export interface QueueRun {
  readonly connections: number;
  readonly batch: number;
  /** Jobs to take and complete. */
  readonly jobs: number;
  readonly perProject?: number | undefined;
  /** A project whose jobs are looked at and not started, as when its plans are used up. */
  readonly except?: string | undefined;
}

/** Nodes each worker places on; workers share none, as pools do not. */
export const nodesPerWorker = 16;

export const nodeOf = (worker: number, index: number): string =>
  `node-${worker * nodesPerWorker + (index % nodesPerWorker)}`;

async function turn(pool: Pool, run: QueueRun, worker: number): Promise<number> {
  const started = await withTransaction(pool, async (client) => {
    const claimed = await fetchNextJobs(client, {
      pool: "bench",
      limit: run.except === undefined ? run.batch : 2 * run.batch,
      now: Temporal.Now.instant(),
      perSignature: run.perProject,
    });
    const jobs = claimed.filter(({ projectId }) => projectId !== run.except);
    const placed = jobs.map(({ id, attempt }, index) => ({
      id,
      attempt,
      borrowing: false,
      placements: [{ node: nodeOf(worker, index), pods: 1 }],
    }));
    return admitJobs(client, placed);
  });
  const endings = started.map(({ id, attempt }) => ({
    id,
    attempt,
    outcome: "succeeded" as const,
    reason: "Completed",
    message: "",
  }));
  await endJobs(pool, endings);
  return started.length;
}

async function runTurns(pool: Pool, run: QueueRun): Promise<number> {
  let done = 0;
  async function work(worker: number): Promise<void> {
    while (done < run.jobs) {
      const taken = await turn(pool, run, worker);
      if (taken === 0) return;
      done += taken;
    }
  }
  await Promise.all(Array.from({ length: run.connections }, (_, worker) => work(worker)));
  return done;
}

export const runRota = (pool: Pool, run: QueueRun): Promise<Cost> =>
  measureCost(pool, () => runTurns(pool, run));
