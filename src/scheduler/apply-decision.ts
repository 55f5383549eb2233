/**
 * Writes a decision in bulk. Every write is fenced on the attempt that was read; jobs that have changed since are
 * skipped. Verdicts after a preemption that the API server has not allowed yet may depend on its capacity or quota:
 * they are not written, but decided again.
 */
import { admitJobs } from "../db/jobs/admit.ts";
import { activateReservations, releaseReservations } from "../db/jobs/reservations.ts";
import { preempt } from "../db/jobs/preempt.ts";
import type { Queryable } from "../db/client/types.ts";
import type {
  AdmitVerdict,
  Decision,
  PreemptVerdict,
  Verdict,
  Victim,
} from "../domain/scheduling/decision.ts";
import type { Snapshot } from "../domain/scheduling/snapshot.ts";
import type { Candidate, EvictionProbe } from "./eviction-probe.ts";

export interface ApplyOptions {
  readonly reservationSeconds: number;
  readonly avoidNodeSeconds: number;
  readonly probe: EvictionProbe;
}

export interface ApplyReport {
  /** Ids of jobs whose verdict was written; a preemptor also represents its victims. */
  readonly changedIds: readonly string[];
  /** namespace/name of jobs whose row changed. */
  readonly changedKeys: readonly string[];
  /** Victims that need a dry run first: the verdicts that depend on them were not written. */
  readonly toProbe: readonly Candidate[];
  readonly progressed: boolean;
}

type OfKind<Kind extends Verdict["kind"]> = Extract<Verdict, { kind: Kind }>;

const ofKind = <Kind extends Verdict["kind"]>(decision: Decision, kind: Kind): OfKind<Kind>[] =>
  decision.verdicts.filter((verdict): verdict is OfKind<Kind> => verdict.kind === kind);

const fence = ({ jobId, attempt }: { readonly jobId: string; readonly attempt: number }) => ({
  id: jobId,
  attempt,
});

/** Entitlement follows the order of admission: jobs within quota, reserved ones included, come before borrowers. */
const withinQuotaFirst = (
  one: { readonly borrowing: boolean },
  other: { readonly borrowing: boolean },
) => Number(one.borrowing) - Number(other.borrowing);

/** The rule shown in the preemption log for the whole set: that of the first victim, the most expensive one. */
const ruleOf = (victims: readonly Victim[]) => victims[0]?.rule ?? "LowerPriority";

/** Ids of the jobs decided before the first preemption that is not known to be allowed. */
function certainJobs({ order }: Decision, doubtful: readonly PreemptVerdict[]): Set<string> {
  const ids = new Set(doubtful.map(({ jobId }) => jobId));
  const first = order.findIndex((id) => ids.has(id));
  return new Set(first < 0 ? order : order.slice(0, first));
}

async function writePreemption(
  db: Queryable,
  pool: string,
  verdict: PreemptVerdict,
  reservationSeconds: number,
): Promise<boolean> {
  const { jobId, attempt, borrowing, placements } = verdict;
  return preempt(db, {
    id: crypto.randomUUID(),
    pool,
    preemptor: { id: jobId, attempt, borrowing, placements, reservationSeconds },
    rule: ruleOf(verdict.victims),
    reason: verdict.reason,
    alternatives: verdict.alternatives,
    victims: verdict.victims.map(({ rule, pastBudget, ...victim }) => ({
      ...fence(victim),
      rule,
      pastBudget,
    })),
  });
}

/**
 * Writes releases, activations, admissions and preemptions: jobs within quota before borrowers. Throws RotaError if the
 * database refuses one; then the cycle's transaction fails.
 */
export async function applyDecision(
  db: Queryable,
  snapshot: Snapshot,
  decision: Decision,
  { reservationSeconds, avoidNodeSeconds, probe }: ApplyOptions,
): Promise<ApplyReport> {
  const keys = new Map([...snapshot.queue, ...snapshot.reserved].map(({ id, key }) => [id, key]));
  const changedIds: string[] = [];
  const victimKeys: string[] = [];
  const preemptions = ofKind(decision, "preempt");
  const leaving = probe.together(preemptions.flatMap(({ victims }) => victims));
  const allowed = new Set(leaving.allowed);
  const doubtful = preemptions.filter(({ victims }) => victims.some((one) => !allowed.has(one)));
  const certain = certainJobs(decision, doubtful);

  const releases = ofKind(decision, "release");
  if (releases.length > 0) {
    const written = await releaseReservations(
      db,
      releases.map((verdict) => ({
        ...fence(verdict),
        reason: verdict.reason,
        message: verdict.message,
        avoidNodes: verdict.avoidNodes,
      })),
      avoidNodeSeconds,
    );
    changedIds.push(...written.map(({ id }) => id));
  }
  const activations = ofKind(decision, "activate").toSorted(withinQuotaFirst);
  if (activations.length > 0) {
    const written = await activateReservations(
      db,
      activations.map((verdict) => ({ ...fence(verdict), borrowing: verdict.borrowing })),
    );
    changedIds.push(...written.map(({ id }) => id));
  }
  const admissions = ofKind(decision, "admit").filter(({ jobId }) => certain.has(jobId));
  const admit = async (verdicts: readonly AdmitVerdict[]): Promise<void> => {
    if (verdicts.length === 0) return;
    const written = await admitJobs(
      db,
      verdicts.map((verdict) => ({
        ...fence(verdict),
        borrowing: verdict.borrowing,
        placements: verdict.placements,
      })),
    );
    changedIds.push(...written.map(({ id }) => id));
  };
  await admit(admissions.filter(({ borrowing }) => !borrowing));
  for (const verdict of preemptions.toSorted(withinQuotaFirst)) {
    if (!certain.has(verdict.jobId)) continue;
    if (!(await writePreemption(db, snapshot.pool, verdict, reservationSeconds))) continue;
    probe.spend(verdict.victims);
    changedIds.push(verdict.jobId);
    victimKeys.push(...verdict.victims.map(({ key }) => key));
  }
  await admit(admissions.filter(({ borrowing }) => borrowing));
  const changedKeys = changedIds.flatMap((id) => keys.get(id) ?? []);
  return {
    changedIds,
    changedKeys: [...changedKeys, ...victimKeys],
    toProbe: doubtful.flatMap(({ victims }) => victims.filter((one) => !allowed.has(one))),
    progressed: changedIds.length > 0,
  };
}
