/** What a cycle says of every waiting job, of those too that it did not look at. */
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
 * `places` are the jobs of the whole queue, where the claim left some of them out and they were asked for; undefined
 * where nothing was left out. With `isStale` the claim left some out and their places were not asked for this time.
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

/** Waiting jobs that are told their position. */
const maxPositions = 10_000;

/** Reads the places of jobs that the claim left out, now and then: that is a look at the whole queue. */
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
