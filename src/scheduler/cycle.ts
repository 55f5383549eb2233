/**
 * One scheduling cycle of one pool: six steps in one transaction. The rows are the intents that controllers carry out:
 * starting jobs need pods, evicting jobs need evictions.
 */
import { likePattern } from "../domain/resource-types.ts";
import type { PoolClient } from "pg";
import { withTransaction } from "../db/client/connection-pool.ts";
import type { DatabasePool } from "../db/client/connection-pool.ts";
import type { Queryable } from "../db/client/types.ts";
import { refreshBorrowing } from "../db/scheduling/entitlement.ts";
import { lockPool } from "../db/scheduling/lock.ts";
import type { Decision } from "../domain/scheduling/decision.ts";
import { secondOfWeek } from "../domain/windows.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { applyDecision } from "./apply-decision.ts";
import type { ApplyOptions } from "./apply-decision.ts";
import { logResult, observationOf } from "./cycle-report.ts";
import type { CycleObservation, CycleResult } from "./cycle-report.ts";
import type { CycleReport } from "./pool-loop.ts";
import { heldBackIn } from "./quota-waits.ts";
import { decideWithVictims, isCut, readSnapshot } from "./snapshot.ts";
import type { SnapshotOptions } from "./snapshot.ts";
import { readRound } from "./wait-reasons/collect.ts";
import type { PositionPace } from "./wait-reasons/position-pace.ts";
import type { Round } from "./wait-reasons/publisher.ts";
import type { SearchTurns } from "./search-turns.ts";
import { secondsToNextCycle } from "./wake-ups.ts";
import { enforceWindows } from "./windows/enforce.ts";
import type { WindowOptions } from "./windows/enforce.ts";

export interface CycleDependencies
  extends Omit<SnapshotOptions, "asking">, WindowOptions, ApplyOptions {
  readonly db: DatabasePool;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Receives the wait reasons of the pool's jobs from a cycle. */
  readonly explain: (pool: string, round: Round) => void;
  readonly positions: PositionPace;
  readonly turns: SearchTurns;
  /** Jobs (namespace/name) whose row or explanation changed. */
  readonly onChanged: (keys: readonly string[]) => void;
  readonly observe: (report: CycleObservation) => void;
  /** Throws if the database was replaced and may lag behind the cluster. */
  readonly expectSameDatabase?: (db: Queryable) => Promise<void>;
  readonly checkpoint: (name: string) => void;
}

/**
 * A starting borrower of high priority takes entitlement from jobs below it; victims and released reservations give
 * theirs to others. Marks are updated in the same transaction, so that none is ever wrong outside it.
 */
const movesRanks = ({ verdicts }: Decision): boolean =>
  verdicts.some(
    (verdict) =>
      verdict.kind === "preempt" ||
      verdict.kind === "release" ||
      (verdict.kind === "admit" && verdict.borrowing),
  );

async function decideAndApply(
  deps: CycleDependencies,
  client: PoolClient,
  pool: string,
): Promise<CycleResult> {
  await deps.expectSameDatabase?.(client);
  const now = deps.clock.now();
  const second = secondOfWeek(now, deps.timeZone);
  const mark = () =>
    refreshBorrowing(client, pool, second, deps.unmeteredResources.map(likePattern));

  // 1. Lock the pool against all other operators.
  await lockPool(client, pool);

  // 2. Mark entitlement: which jobs are within quota at this second of the week, and which borrow.
  const marked = await mark();

  // 3. Enforce windows: warn and evict jobs over the quantity of a plan that closes.
  const windows = await enforceWindows(client, pool, now, marked.overQuota, deps);

  // 4. Take the snapshot: claim the next jobs of the queue, read nodes, quotas and reservations.
  const snapshot = await readSnapshot(deps, client, pool, now);
  const isIdle = snapshot.queue.length + snapshot.reserved.length === 0;
  const checkpoint = isIdle ? () => undefined : deps.checkpoint;
  checkpoint("claimed");

  // 5. Decide: a verdict for each job of the snapshot.
  const startedSeconds = deps.clock.monotonicSeconds();
  const inVain = deps.turns.answers(pool);
  const decision = await decideWithVictims(client, { ...snapshot, inVain }, () =>
    deps.probe.rejections(),
  );
  const decisionSeconds = deps.clock.monotonicSeconds() - startedSeconds;
  checkpoint("decided");

  // 6. Apply the verdicts, and mark entitlement again if they change it.
  const applied = await applyDecision(client, snapshot, decision, deps);
  const reranked = movesRanks(decision) ? (await mark()).changedKeys : [];

  return {
    snapshot,
    decision,
    decisionSeconds,
    windows,
    changedIds: applied.changedIds,
    changedKeys: [
      ...marked.changedKeys,
      ...windows.changedKeys,
      ...applied.changedKeys,
      ...reranked,
    ],
    toProbe: [...windows.toProbe, ...applied.toProbe],
    progressed: applied.progressed || windows.changedKeys.length > 0,
    round: await readRound(client, snapshot, decision, deps.positions),
    nextInstantSeconds: await secondsToNextCycle(client, snapshot, second, windows, deps.probe),
  };
}

export interface CycleOutcome extends CycleReport {
  /** Namespaces in which a job waits while they have ResourceQuotas. */
  readonly heldBackIn: ReadonlySet<string>;
}

/**
 * Runs one cycle, then reports it: changed jobs, wait reasons, metrics and logs. Dry runs of evictions follow after the
 * commit.
 * @param signal aborts the dry runs, not the transaction
 */
export async function runCycle(
  deps: CycleDependencies,
  pool: string,
  signal: AbortSignal,
): Promise<CycleOutcome> {
  const startedSeconds = deps.clock.monotonicSeconds();
  const result = await withTransaction(deps.db, (client) => decideAndApply(deps, client, pool));
  const { snapshot, decision, progressed, toProbe, changedKeys } = result;
  const decides = (kind: Decision["verdicts"][number]["kind"]): boolean =>
    decision.verdicts.some((verdict) => verdict.kind === kind);
  if (progressed) deps.checkpoint("cycle-committed");
  if (progressed && decides("preempt")) deps.checkpoint("preemption-committed");

  logResult(deps.logger, result);
  const warned = deps.notices.replace(pool, result.windows.notices, snapshot.nowSeconds);
  deps.explain(pool, result.round);
  deps.onChanged([...new Set([...changedKeys, ...warned])]);
  deps.observe(observationOf(result, deps.clock.monotonicSeconds() - startedSeconds));
  const nextTurnSeconds = deps.turns.record(pool, decision);
  if (toProbe.length > 0) await deps.probe.ask(toProbe, signal);

  // The queue that this cycle read does not include jobs whose reservation it released.
  const hasMoreToDecide = isCut(snapshot) || decides("release");
  return {
    isUnfinished: toProbe.length > 0 || (hasMoreToDecide && progressed),
    nextInstantSeconds: Math.min(nextTurnSeconds, result.nextInstantSeconds),
    heldBackIn: heldBackIn(snapshot, decision),
  };
}
