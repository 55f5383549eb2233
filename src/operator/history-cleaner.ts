/** Deletes old rows in small steps until the signal is aborted. */
import { forgetJobs } from "../db/jobs/attempts.ts";
import { pruneContents, pruneHistory, pruneRemovedCommits } from "../db/history/prune.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Context } from "../controllers/context.ts";

const periodSeconds = 3600;
/** Delay of the first run, to keep it out of the rush at startup. */
const firstAfterSeconds = 60;
const rowsAtOnce = 1000;
/** Each takes up to 2 MB. */
const contentsAtOnce = 100;
/** Leaves time for other work between two steps. */
const pauseSeconds = 0.2;

type PruneContext = Pick<Context, "db" | "clock" | "logger" | "settings">;

/** Prunes at most a number of rows that are older than an instant; returns how many it found. */
type Prune = (db: PruneContext["db"], before: Temporal.Instant, maxRows: number) => Promise<number>;

async function inSteps(
  { clock, db }: PruneContext,
  signal: AbortSignal,
  prune: Prune,
  days: number,
  atOnce = rowsAtOnce,
): Promise<number> {
  const before = clock.now().subtract({ hours: days * 24 });
  let total = 0;
  while (!signal.aborted) {
    const pruned = await prune(db, before, atOnce);
    total += pruned;
    if (pruned < atOnce) break;
    await sleepUnlessAborted(clock, pauseSeconds, signal);
  }
  return total;
}

/** Deletes what is past its retention, in one pass. Throws database errors. */
export async function pruneOnce(context: PruneContext, signal: AbortSignal): Promise<void> {
  const { finishedRowDays, historyDays, deletedCommitDays } = context.settings;
  const rows = await inSteps(context, signal, forgetJobs, finishedRowDays);
  const history = await inSteps(context, signal, pruneHistory, historyDays);
  const commits = await inSteps(context, signal, pruneRemovedCommits, deletedCommitDays);
  const contents = await inSteps(context, signal, pruneContents, deletedCommitDays, contentsAtOnce);
  if (rows + history + commits + contents > 0)
    context.logger.info("old rows were pruned", { rows, history, commits, contents });
}

/** Runs every hour; never throws. */
export async function pruneNowAndThen(context: PruneContext, signal: AbortSignal): Promise<void> {
  await sleepUnlessAborted(context.clock, firstAfterSeconds, signal);
  while (!signal.aborted) {
    await pruneOnce(context, signal).catch((error: unknown) =>
      context.logger.warn("could not prune old rows; the next turn tries again", {
        error: errorText(error),
      }),
    );
    await sleepUnlessAborted(context.clock, periodSeconds, signal);
  }
}
