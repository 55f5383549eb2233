/** What one cycle did, from the history and the preemption log: the only witnesses besides the rows. */
import type { DatabasePool } from "../../../src/db/client/connection-pool.ts";
import type { World, WorldJob } from "./world.ts";

export interface VictimEffect {
  readonly id: string;
  readonly rule: string;
}

export type Effect =
  | { readonly kind: "admit"; readonly borrowing: boolean }
  | { readonly kind: "activate" }
  | { readonly kind: "release"; readonly reason: string }
  | {
      readonly kind: "preempt";
      readonly borrowing: boolean;
      readonly victims: readonly VictimEffect[];
    };

export interface Effects {
  /** By job, in their order: one whose hold is given back may start in the same cycle. */
  readonly ofJob: ReadonlyMap<string, readonly Effect[]>;
  /** Evicted because a window closed, not for another job. */
  readonly closed: readonly string[];
}

export const noEffects: Effects = { ofJob: new Map(), closed: [] };

interface EventRow {
  readonly job_id: string;
  readonly from_status: string;
  readonly to_status: string;
  readonly reason: string | null;
  readonly borrowing: boolean;
  readonly rule: string | null;
  readonly preemptor: string | null;
}

const readEvents = async (db: DatabasePool, before: World): Promise<readonly EventRow[]> => {
  const { rows } = await db.query<EventRow>(
    `
    SELECT event.job_id, event.from_status, event.to_status, event.reason, event.borrowing, victim.rule,
      preemption.preemptor_job_id AS preemptor
    FROM job_events AS event
    LEFT JOIN preemption_victims AS victim ON event.to_status = 'evicting'
      AND victim.victim_job_id = event.job_id AND victim.victim_attempt = event.attempt
      AND victim.outcome IS DISTINCT FROM 'EvictionCancelled'
    LEFT JOIN preemptions AS preemption ON preemption.id = victim.preemption_id
    WHERE event.id > $1 AND event.pool = $2 AND event.from_status <> event.to_status
    ORDER BY event.id
    `,
    [before.lastEvent, before.pool],
  );
  return rows;
};

function effectOf(event: EventRow, victims: readonly EventRow[]): Effect | undefined {
  const { from_status: from, to_status: to, borrowing } = event;
  if (to === "evicting") return undefined;
  if (from === "reserved" && to === "starting") return { kind: "activate" };
  if (from === "reserved") return { kind: "release", reason: event.reason ?? "" };
  if (to === "starting") return { kind: "admit", borrowing };
  if (to !== "reserved") throw new Error(`a cycle made ${event.job_id} ${to}, which was ${from}`);
  const own = victims.filter(({ preemptor }) => preemptor === event.job_id);
  return {
    kind: "preempt",
    borrowing,
    victims: own.map(({ job_id: id, rule }) => ({ id, rule: rule ?? "" })),
  };
}

export async function readEffects(db: DatabasePool, before: World): Promise<Effects> {
  const events = await readEvents(db, before);
  const victims = events.filter(({ to_status: to }) => to === "evicting");
  const ofJob = new Map<string, Effect[]>();
  for (const event of events) {
    const effect = effectOf(event, victims);
    if (effect) ofJob.set(event.job_id, [...(ofJob.get(event.job_id) ?? []), effect]);
  }
  const closed = victims.filter(({ preemptor }) => preemptor === null).map(({ job_id: id }) => id);
  return { ofJob, closed };
}

/** The last of a cycle's effects on a waiting job; what came before it was the end of its hold. */
export const outcomeOf = ({ ofJob }: Effects, { id }: WorldJob): Effect | undefined =>
  ofJob.get(id)?.findLast(({ kind }) => kind === "admit" || kind === "preempt");
