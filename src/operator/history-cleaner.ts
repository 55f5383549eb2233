/** Deletes old rows in small steps until the signal is aborted. */
import { forgetJobs } from "../db/jobs/attempts.ts";
import { pruneHistory } from "../db/history/prune.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Context } from "../controllers/context.ts";

const periodSeconds = 3600;
/** Delay of the first run, to keep it out of the rush at startup. */
const firstAfterSeconds = 60;
const rowsAtOnce = 1000;
/** Leaves time for other work between two steps. */
const pauseSeconds = 0.2;

type PruneContext = Pick<Context, "db" | "clock" | "logger" | "settings">;

async function inSteps(
  { clock }: PruneContext,
  signal: AbortSignal,
  step: () => Promise<number>,
): Promise<number> {
  let total = 0;
  while (!signal.aborted) {
    const pruned = await step();
    total += pruned;
    if (pruned < rowsAtOnce) break;
    await sleepUnlessAborted(clock, pauseSeconds, signal);
  }
  return total;
}

/** Deletes finished jobs and history past their retention, in one pass. Throws database errors. */
export async function pruneOnce(context: PruneContext, signal: AbortSignal): Promise<void> {
  const { db, clock, logger, settings } = context;
  const daysAgo = (days: number) => clock.now().subtract({ hours: days * 24 });
  const rows = await inSteps(context, signal, () =>
    forgetJobs(db, daysAgo(settings.finishedRowDays), rowsAtOnce),
  );
  const { historyDays } = settings;
  const history =
    historyDays === undefined
      ? 0
      : await inSteps(context, signal, () => pruneHistory(db, daysAgo(historyDays), rowsAtOnce));
  if (rows + history > 0) logger.info("old rows were pruned", { rows, history });
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
