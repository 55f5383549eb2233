/** The wait reasons of all jobs of a pool after a cycle, including jobs that the claim omitted. */
import type { Queryable } from "../../db/client/types.ts";
import { readPositions } from "../../db/scheduling/positions.ts";
import type { QueuePlace } from "../../db/scheduling/positions.ts";
import { sameProjectAs, redactFor } from "../../domain/redaction.ts";
import type { Decision, WaitVerdict } from "../../domain/scheduling/decision.ts";
import type { Snapshot } from "../../domain/scheduling/snapshot.ts";
import { isCut } from "../snapshot.ts";
import type { PositionPace } from "./position-pace.ts";
import type { ExplainedJob, Round } from "./publisher.ts";

const unseen = "waits behind jobs of its project with the same request; see their reasons";

/**
 * Combines verdicts and queue positions into one round.
 * @param places the whole queue, if the claim omitted jobs and their positions were read; otherwise undefined
 * @param isStale the claim omitted jobs, but their positions were not read this time
 */
export function collectRound(
  snapshot: Snapshot,
  decision: Decision,
  places: readonly QueuePlace[] | undefined,
  isStale: boolean,
): Round {
  const positions = new Map(places?.map(({ id, position }) => [id, position]));
  const keys = new Map(snapshot.queue.map(({ id, key }) => [id, key]));
  const waits = decision.verdicts.filter(
    (verdict): verdict is WaitVerdict => verdict.kind === "wait",
  );
  const seen = waits.map(({ jobId, reason, message, redactables, position }): ExplainedJob => {
    const key = keys.get(jobId) ?? "";
    const shown = redactFor(sameProjectAs(key), message, redactables);
    return { jobId, key, reason, message: shown, position: positions.get(jobId) ?? position };
  });
  const judged = new Set(decision.verdicts.map(({ jobId }) => jobId));
  const others = (places ?? [])
    .filter(({ id, isBackingOff }) => !judged.has(id) && !isBackingOff)
    .map(({ id: jobId, key, position }): ExplainedJob => {
      return { jobId, key, reason: "Queued", message: unseen, position };
    });
  const settled = decision.verdicts.flatMap(({ kind, jobId }) => (kind === "wait" ? [] : [jobId]));
  return { explained: [...seen, ...others], settled, isComplete: !isStale };
}

/** Maximum of waiting jobs with a position. */
const maxPositions = 10_000;

/** Reads the positions of omitted jobs only at intervals, because that scans the whole queue. */
export async function readRound(
  db: Queryable,
  snapshot: Snapshot,
  decision: Decision,
  pace: PositionPace,
): Promise<Round> {
  if (!isCut(snapshot)) return collectRound(snapshot, decision, undefined, false);
  if (!pace.isDue(snapshot.pool)) return collectRound(snapshot, decision, undefined, true);
  const places = await readPositions(db, snapshot.pool, maxPositions);
  return collectRound(snapshot, decision, places, false);
}
