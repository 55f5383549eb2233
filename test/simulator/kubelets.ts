/**
 * Kubelets: what becomes of the pods of attempts. They are made, evicted and given up by the operator, from what stands
 * in the rows: while it is down nothing of that happens, and what it left undone is done when it is back.
 */
import { endJob, markRunning, retryJob } from "../../src/db/jobs/attempts.ts";
import { markEvicted, cancelEviction } from "../../src/db/jobs/preempt.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import { type JobRow, jobsIn, type Stage } from "./context.ts";

const startDeadlineSeconds = 300;
/** A victim that a budget holds up, longer than a hold lasts: it has lost nothing by then. */
const blockedSeconds = 400;

const keyOf = ({ id, attempt, status }: JobRow): string => `${id}/${attempt}/${status}`;

export async function retry(
  db: Queryable,
  job: JobRow,
  reason: string,
  countsAsFailure: boolean,
): Promise<void> {
  const said = { id: job.id, attempt: job.attempt, reason, message: "as simulated" };
  if (countsAsFailure && job.failures + 1 > job.backoff_limit) {
    await endJob(db, { ...said, outcome: "failed" });
    return;
  }
  const notBeforeSeconds = countsAsFailure ? 10 * 2 ** job.failures : 0;
  await retryJob(db, { ...said, countsAsFailure, notBeforeSeconds });
}

export async function succeed(db: Queryable, job: JobRow): Promise<void> {
  await endJob(db, { ...job, outcome: "succeeded", reason: "Completed", message: "well" });
}

export class Kubelets {
  readonly #stage: Stage;
  /** Attempts in a status that something has been planned for. */
  readonly #planned = new Set<string>();

  #downUntilSeconds = 0;

  /** Whether victims that have lost nothing run on when nobody needs their room any more. */
  readonly #spares: boolean;

  constructor(stage: Stage, spares: boolean) {
    this.#stage = stage;
    this.#spares = spares;
  }

  /** Nobody is there to look at pods for so long. */
  goDown(seconds: number): void {
    this.#downUntilSeconds = this.#stage.timeline.nowSeconds + seconds;
  }

  get isDown(): boolean {
    return this.#stage.timeline.nowSeconds < this.#downUntilSeconds;
  }

  /** Plans what becomes of attempts that nobody has thought of yet. */
  async look(): Promise<void> {
    for (const job of await jobsIn(this.#stage.db, ["starting", "running", "evicting"])) {
      const key = keyOf(job);
      if (this.#planned.has(key)) continue;
      this.#planned.add(key);
      if (job.status === "starting") this.#planStart(job);
      else if (job.status === "running") this.#planRun(job);
      else this.#planEviction(job);
    }
  }

  #plan(seconds: number, what: string, act: () => Promise<unknown>): void {
    const { timeline } = this.#stage;
    timeline.plan(seconds, what, async () => {
      if (this.isDown) this.#plan(this.#downUntilSeconds - timeline.nowSeconds, what, act);
      else await act();
    });
  }

  #planStart(job: JobRow): void {
    const { db, random } = this.#stage;
    if (random.chance(0.04)) {
      this.#plan(startDeadlineSeconds, "a start deadline passes", () =>
        retry(db, job, "StartDeadlineExceeded", false),
      );
      return;
    }
    this.#plan(random.whole(0, 60), "a gang runs", () => markRunning(db, job));
  }

  #planRun(job: JobRow): void {
    const { db, random } = this.#stage;
    const seconds = random.seconds(5 * 3600);
    const limit = job.max_runtime_seconds ?? Infinity;
    const fails = random.chance(0.12) || seconds > limit;
    this.#plan(Math.min(seconds, limit), fails ? "a gang fails" : "a gang succeeds", () =>
      fails ? retry(db, job, "PodFailed", true) : succeed(db, job),
    );
  }

  #planEviction(job: JobRow): void {
    const { db, random } = this.#stage;
    if (random.chance(0.1)) {
      this.#plan(20, "a victim finishes first", () => succeed(db, job));
      return;
    }
    const seconds = random.of([0, 30, 60, 120, blockedSeconds]);
    this.#plan(seconds, "a victim has left or is spared", async () => {
      const isReservedUp = this.#spares && seconds === blockedSeconds;
      if (isReservedUp && (await cancelEviction(db, job))) this.#planned.delete(keyOf(job));
      else await markEvicted(db, job);
    });
  }
}
