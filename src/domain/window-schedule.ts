/**
 * Closes of windows with onWindowClose: Evict. A close is an instant: windows are read from the wall clock, which skips
 * or repeats hours, and whoever waits for a close waits in real time.
 */
import { secondOfWeekAt, weekSeconds, type WeekRange } from "./windows.ts";

export interface ClosingWindow extends WeekRange {
  readonly plan: string;
  readonly onWindowClose: "Finish" | "Evict";
}

export interface WindowClose {
  readonly plan: string;
  /** The first instant at which the window is closed. */
  readonly at: Temporal.ZonedDateTime;
  /** Second of the week on the wall clock then. */
  readonly atSecond: number;
  /** Seconds until the close, or since. */
  readonly seconds: number;
}

const cyclic = (seconds: number): number => ((seconds % weekSeconds) + weekSeconds) % weekSeconds;

/** A window across Sunday midnight is two ranges; the first does not close. */
const continuation = <Window extends ClosingWindow>(
  window: Window,
  windows: readonly Window[],
): Window | undefined =>
  windows.find(({ plan, start }) => plan === window.plan && start === cyclic(window.end));

/** The open window; windows of one owner do not overlap. */
function openAt<Window extends WeekRange>(
  windows: readonly Window[],
  at: Temporal.ZonedDateTime,
): Window | undefined {
  const second = secondOfWeekAt(at);
  return windows.find(({ start, end }) => start <= second && second < end);
}

const toSecond = (at: Temporal.ZonedDateTime): Temporal.ZonedDateTime =>
  at.round({ smallestUnit: "second", roundingMode: "floor" });
const secondsBetween = (from: Temporal.ZonedDateTime, to: Temporal.ZonedDateTime): number =>
  (to.epochMilliseconds - from.epochMilliseconds) / 1000;

function closeOf(plan: string, at: Temporal.ZonedDateTime, seconds: number): WindowClose {
  return { plan, at, atSecond: secondOfWeekAt(at), seconds };
}

/** Where the window's range ends on the wall clock, continuations included; undefined for the whole week. */
function endOf(window: ClosingWindow, windows: readonly ClosingWindow[]): number | undefined {
  let last = window;
  for (let next = continuation(last, windows); next; next = continuation(last, windows)) {
    if (next === window) return undefined;
    last = next;
  }
  return last.end;
}

/** When the open window of a plan closes; undefined if it never does. */
function closesAt(
  open: ClosingWindow,
  windows: readonly ClosingWindow[],
  from: Temporal.ZonedDateTime,
): Temporal.ZonedDateTime | undefined {
  const end = endOf(open, windows);
  if (end === undefined) return undefined;
  const at = from.add({ seconds: cyclic(end - secondOfWeekAt(from)) });
  const jump = from.getTimeZoneTransition("next");
  if (jump === null || Temporal.ZonedDateTime.compare(at, jump) < 0) return at;
  const then = openAt(windows, jump);
  return then?.plan === open.plan ? closesAt(then, windows, jump) : jump;
}

/** The close of the open window if it evicts, otherwise undefined. */
export function nextEvictClose(
  windows: readonly ClosingWindow[],
  now: Temporal.ZonedDateTime,
): WindowClose | undefined {
  const open = openAt(windows, now);
  if (open?.onWindowClose !== "Evict") return undefined;
  const at = closesAt(open, windows, toSecond(now));
  return at && closeOf(open.plan, at, secondsBetween(now, at));
}

/** Windows follow one another at most so often; later closes are not looked at. */
const maxCloses = 16;

/**
 * The closes to come that evict, in order, for as long as the next window opens at once and evicts at its close, too; at
 * most a week ahead.
 */
export function evictClosesAhead(
  windows: readonly ClosingWindow[],
  now: Temporal.ZonedDateTime,
): readonly WindowClose[] {
  const closes: WindowClose[] = [];
  let from = now;
  while (closes.length < maxCloses) {
    const next = nextEvictClose(windows, from);
    const seconds = next === undefined ? Number.POSITIVE_INFINITY : secondsBetween(now, next.at);
    if (next === undefined || seconds > weekSeconds) break;
    closes.push({ ...next, seconds });
    from = next.at;
  }
  return closes;
}

interface PastClose {
  readonly window: ClosingWindow;
  readonly at: Temporal.ZonedDateTime;
}

/** The latest close; undefined if no window ever closes. */
function lastClose(
  windows: readonly ClosingWindow[],
  now: Temporal.ZonedDateTime,
): PastClose | undefined {
  const second = secondOfWeekAt(now);
  const since = ({ end }: ClosingWindow): number => cyclic(second - end);
  const [window] = windows
    .filter((one) => continuation(one, windows) === undefined)
    .toSorted((one, other) => since(one) - since(other));
  if (window === undefined) return undefined;
  const at = now.subtract({ seconds: since(window) });
  // "previous" leaves out a transition at this very instant.
  const jump = now.add({ seconds: 1 }).getTimeZoneTransition("previous");
  if (jump === null || Temporal.ZonedDateTime.compare(at, jump) > 0) return { window, at };
  const before = jump.subtract({ seconds: 1 });
  const open = openAt(windows, before);
  const isClosedByJump = open !== undefined && openAt(windows, jump)?.plan !== open.plan;
  return isClosedByJump ? { window: open, at: jump } : lastClose(windows, before);
}

/**
 * The latest close if it evicts. While another window is open, it counts only if that one followed immediately: jobs over
 * the new quantity were started under the old one.
 */
export function lastEvictClose(
  windows: readonly ClosingWindow[],
  now: Temporal.ZonedDateTime,
): WindowClose | undefined {
  const last = lastClose(windows, toSecond(now));
  if (last?.window.onWindowClose !== "Evict") return undefined;
  const open = openAt(windows, now);
  if (open && openAt(windows, last.at)?.plan !== open.plan) return undefined;
  return closeOf(last.window.plan, last.at, secondsBetween(last.at, now));
}
