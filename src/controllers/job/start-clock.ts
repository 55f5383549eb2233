/**
 * When the start deadline of a gang begins: with its attempt, or where its init containers ran, which may take hours (a
 * dataset is fetched), at the end of the last one that this process saw.
 */
import type { Pod } from "../../resources/types.ts";
import { remember } from "../../runtime/bounded-map.ts";
import type { Clock } from "../../runtime/clock.ts";

interface Seen {
  readonly initializing: boolean;
  readonly at: Temporal.Instant;
}

/** The oldest are forgotten. */
const maxJobs = 10_000;

const isInitializing = ({ startPhase }: Pod): boolean => startPhase === "Initializing";

export class StartClock {
  readonly #clock: Clock;
  /** By the job's uid. */
  readonly #seen = new Map<string, Seen>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Call it at each look at a gang that starts, with the pods of its attempt. Undefined while init containers run. */
  beginsAt(
    uid: string,
    startedAt: Temporal.Instant,
    pods: readonly Pod[],
  ): Temporal.Instant | undefined {
    const initializing = pods.some(isInitializing);
    const last = this.#seen.get(uid);
    const at = this.#clock.now();
    if (initializing || last?.initializing === true)
      remember(this.#seen, uid, { initializing, at }, maxJobs);
    if (initializing) return undefined;
    const ended = last?.initializing === true ? at : last?.at;
    return ended !== undefined && Temporal.Instant.compare(ended, startedAt) > 0
      ? ended
      : startedAt;
  }
}
