/** A plan's window that closes in real time during a test. */
import { waitFor } from "../../dev/local/wait.ts";
import { secondOfWeek } from "../../src/domain/windows.ts";

const dayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const minute = 60_000;

export interface ClosingWindow {
  readonly closesAt: number;
  /** spec.timeWindows of a plan */
  readonly windows: readonly object[];
}

/** A two-hour window that closes at the first whole minute after the given time; windows have whole minutes. */
export function closingSoon(minMilliseconds: number): ClosingWindow {
  const closesAt = Math.ceil((Date.now() + minMilliseconds) / minute) * minute;
  const text = (at: number) => new Date(at).toISOString().slice(11, 16);
  const opens = closesAt - 120 * minute;
  const second = secondOfWeek(Temporal.Instant.fromEpochMilliseconds(opens), "UTC");
  const day = dayNames[Math.floor(second / 86_400)];
  return { closesAt, windows: [{ days: [day], start: text(opens), end: text(closesAt) }] };
}

export const closes = ({ closesAt }: ClosingWindow): Promise<boolean> =>
  waitFor(() => Promise.resolve(Date.now() >= closesAt), {
    what: "the windows to close",
    timeoutMs: 2 * minute,
    intervalMs: 200,
  });
