/**
 * Which running jobs are inside their plans (design section 4).
 *
 * Jobs take their ceilings' quantities in order of priority descending, then start; one that no longer fits under
 * each of its ceilings is borrowing. A borrower takes nothing from the quantity, so jobs after it that still fit
 * keep their entitlement: otherwise a large borrower would turn the small entitled jobs behind it into borrowers,
 * the owner could be pushed below what the plan grants, and evictions could go in circles.
 */
import { amountOf } from "./ceilings.ts";
import { times } from "./resources.ts";
import type { Ceiling, Resources } from "./types.ts";

export interface RankedJob {
  readonly id: string;
  readonly priority: number;
  /** Held jobs have not started: give them the time of the snapshot. */
  readonly startedAtSeconds: number;
  readonly perPod: Resources;
  readonly pods: number;
  readonly ceilings: readonly string[];
  /** Asks for a metered type that no plan on the way up grants. */
  readonly unplanned: boolean;
}

interface Room {
  readonly ceiling: Ceiling;
  left: number;
}

/** For each job, by id, whether it is borrowing. */
export function rankEntitlement(
  jobs: readonly RankedJob[],
  ceilings: readonly Ceiling[],
): ReadonlyMap<string, boolean> {
  const rooms = new Map(ceilings.map((ceiling) => [ceiling.id, roomOf(ceiling)]));
  const borrowing = new Map<string, boolean>();
  for (const job of [...jobs].sort(byRank)) borrowing.set(job.id, !takeRoom(job, rooms));
  return borrowing;
}

const roomOf = (ceiling: Ceiling): Room => ({
  ceiling,
  left: ceiling.resourceType === "GPU" ? ceiling.quantity : Math.round(ceiling.quantity * 1000),
});

const byRank = (a: RankedJob, b: RankedJob): number =>
  b.priority - a.priority || a.startedAtSeconds - b.startedAtSeconds || (a.id < b.id ? -1 : 1);

function takeRoom(job: RankedJob, rooms: ReadonlyMap<string, Room>): boolean {
  if (job.unplanned) return false;
  const demand = times(job.perPod, job.pods);
  const needs = job.ceilings
    .flatMap((id) => rooms.get(id) ?? [])
    .map((room) => ({ room, amount: amountOf(demand, room.ceiling.resourceType) }))
    .filter(({ amount }) => amount > 0);
  if (needs.some(({ room, amount }) => amount > room.left)) return false;
  for (const { room, amount } of needs) room.left -= amount;
  return true;
}
