/**
 * A database that is older than the cluster: it lost its content, was restored from a backup, or is a server that took over
 * and lags. What runs in the cluster is adopted before anything is started beside it.
 */
import type { Context } from "../controllers/context.ts";
import { stageOf, wasQueued } from "../controllers/job/observed-state.ts";
import { expectSameDatabase, readDatabaseIdentity } from "../db/client/identity.ts";
import { migrate } from "../db/client/migrate.ts";
import type { Queryable } from "../db/client/types.ts";
import { laggingJobs } from "../db/jobs/recover.ts";
import type { KnownJob } from "../db/jobs/recover.ts";
import { RotaError } from "../errors.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import type { CycleReport } from "../scheduler/pool-loop.ts";
import { enqueueAll } from "./controllers.ts";
import type { Ownership } from "./ownership/ownership.ts";

const maxAdoptionSeconds = 60;
/** In the log message about jobs that could not be adopted. */
const maxNamedJobs = 20;

/** Create one per term. */
export class DatabaseRecovery {
  readonly #context: Context;
  readonly #signal: AbortSignal;
  readonly #ownership: Pick<Ownership, "check">;
  /** The identity of the database that was compared with the cluster. */
  #identity = "";
  /** Set during a comparison; cycles wait for it. */
  #comparing: Promise<void> | undefined;

  /** @param signal aborts the wait for jobs to be adopted */
  constructor(context: Context, signal: AbortSignal, ownership: Pick<Ownership, "check">) {
    this.#context = context;
    this.#signal = signal;
    this.#ownership = ownership;
  }

  /** Call it at the start of a term: remembers the database and enqueues everything. */
  async begin(): Promise<void> {
    this.#identity = await readDatabaseIdentity(this.#context.db);
    await enqueueAll(this.#context);
  }

  /** Throws RotaError DatabaseReplaced if the database is not the one that was compared. */
  expectSameDatabase(db: Queryable): Promise<void> {
    return expectSameDatabase(db, this.#identity);
  }

  /** Runs the cycle. If it finds that the database was replaced, compares everything and asks for another cycle. */
  async guard(cycle: () => Promise<CycleReport>): Promise<CycleReport> {
    try {
      await this.#comparing;
      return await cycle();
    } catch (error) {
      if (!(error instanceof RotaError) || error.code !== "DatabaseReplaced") throw error;
      this.#comparing ??= this.#compareAgain().finally(() => {
        this.#comparing = undefined;
      });
      await this.#comparing;
      return { isUnfinished: true, nextInstantSeconds: 0 };
    }
  }

  /** Like the start of a term: after a fail-over or a restore, data and schema may be older than the cluster. */
  async #compareAgain(): Promise<void> {
    const { db, logger, settings } = this.#context;
    logger.warn(
      "the database was restarted, restored or replaced: all is compared with the cluster",
    );
    // One that is not the cluster's any more ends the term.
    if (!(await this.#ownership.check(this.#signal))) return;
    await migrate(settings.databaseUrl);
    await db.learnTypes();
    const identity = await readDatabaseIdentity(db);
    await enqueueAll(this.#context);
    await this.adoptLaggingJobs();
    this.#identity = identity;
  }

  /**
   * A database that lost its content, or was brought back to an earlier state, must know what runs before anything is
   * started beside it. The controllers adopt; this waits for them, for a while: a job that cannot be adopted must not
   * hold up all others for ever.
   */
  async adoptLaggingJobs(): Promise<void> {
    const { db, clock, logger } = this.#context;
    const deadline = clock.monotonicSeconds() + maxAdoptionSeconds;
    let lagging = await laggingJobs(db, this.#knownJobs());
    if (lagging.length > 0)
      logger.warn("the database lags behind the cluster", { jobs: lagging.length });
    while (lagging.length > 0 && clock.monotonicSeconds() < deadline && !this.#signal.aborted) {
      await sleepUnlessAborted(clock, 0.2, this.#signal);
      const still = new Set(lagging);
      lagging = await laggingJobs(
        db,
        this.#knownJobs().filter(({ id }) => still.has(id)),
      );
    }
    if (lagging.length > 0)
      logger.error("scheduling begins though jobs are not adopted", {
        jobs: lagging.length,
        first: lagging.slice(0, maxNamedJobs),
      });
  }

  /** Jobs by their status. Statuses are written from rows, so a row is older only if the database was set back. */
  #knownJobs(): KnownJob[] {
    return [...this.#context.informers.jobs.store.values()].filter(wasQueued).map((job) => ({
      id: job.uid,
      attempt: job.status.attempt ?? 0,
      stage: stageOf(job),
    }));
  }
}
