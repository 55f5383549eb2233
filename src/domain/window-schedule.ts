/** Closes of windows with onWindowClose: Evict, as seconds of the week. */
import { weekSeconds, type WeekRange } from "./windows.ts";

export interface ClosingWindow extends WeekRange {
  readonly plan: string;
  readonly onWindowClose: "Finish" | "Evict";
}

export interface WindowClose {
  readonly plan: string;
  /** Second of the week, from 0. */
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

const openAt = <Window extends WeekRange>(windows: readonly Window[], second: number) =>
  windows.find(({ start, end }) => start <= second && second < end);

/** The close of the open window if it evicts, otherwise undefined; windows of one owner do not overlap. */
export function nextEvictClose(
  windows: readonly ClosingWindow[],
  second: number,
): WindowClose | undefined {
  const open = openAt(windows, second);
  if (open?.onWindowClose !== "Evict") return undefined;
  let last = open;
  for (let next = continuation(last, windows); next; next = continuation(last, windows)) {
    if (next === open) return undefined;
    last = next;
  }
  const atSecond = cyclic(last.end);
  return { plan: open.plan, atSecond, seconds: cyclic(atSecond - second) };
}

/**
 * The latest close if it evicts. While another window is open, it counts only if that one followed immediately: jobs over
 * the new quantity were started under the old one.
 */
export function lastEvictClose(
  windows: readonly ClosingWindow[],
  second: number,
): WindowClose | undefined {
  const since = ({ end }: ClosingWindow): number => cyclic(second - end);
  const [last] = windows
    .filter((window) => continuation(window, windows) === undefined)
    .toSorted((one, other) => since(one) - since(other));
  if (last?.onWindowClose !== "Evict") return undefined;
  const open = openAt(windows, second);
  if (open && since(last) > second - open.start) return undefined;
  return { plan: last.plan, atSecond: cyclic(last.end), seconds: since(last) };
}
