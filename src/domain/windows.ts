/**
 * Weekly windows in local time of the installation's time zone, as half-open ranges of seconds of the week; 0 is Monday
 * 00:00. At changes to or from daylight saving time, a window in a repeated hour is in effect twice, and a window in a
 * skipped hour not at all.
 */
import { RotaError } from "../errors.ts";

export const weekSeconds = 604_800;
const daySeconds = 86_400;

export const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;
export type Day = (typeof days)[number];

export interface TimeWindow {
  readonly days: readonly Day[];
  /** "HH:MM" */
  readonly start: string;
  /** "HH:MM" or "24:00"; an end at or before the start is on the next day. */
  readonly end: string;
}

/** Seconds of the week, from start to end exclusive; 0 <= start < end <= 604800. */
export interface WeekRange {
  readonly start: number;
  readonly end: number;
}

export interface QuantityWindow extends WeekRange {
  readonly quantity: number;
}

const timePattern = /^([01]\d|2[0-3]):([0-5]\d)$/;

function secondOfDay(text: string): number {
  const [, hours, minutes] = timePattern.exec(text) ?? [];
  if (hours === undefined || minutes === undefined) {
    throw new RotaError("InvalidWindow", `${text} is not a time of day such as 08:30`);
  }
  return Number(hours) * 3600 + Number(minutes) * 60;
}

const endOfDay = (text: string): number => (text === "24:00" ? daySeconds : secondOfDay(text));

/** Splits a range that crosses the end of Sunday: the rest starts at Monday 00:00. */
function wrap(start: number, end: number): WeekRange[] {
  if (end <= weekSeconds) return [{ start, end }];
  return [
    { start, end: weekSeconds },
    { start: 0, end: end - weekSeconds },
  ];
}

function rangesOf(window: TimeWindow): WeekRange[] {
  const start = secondOfDay(window.start);
  const end = endOfDay(window.end);
  const length = end > start ? end - start : end + daySeconds - start;
  return window.days.flatMap((day) => {
    const begin = days.indexOf(day) * daySeconds + start;
    return wrap(begin, begin + length);
  });
}

/**
 * The ranges of a plan's windows, which may touch or overlap (PostgreSQL merges them). Without windows: the whole week.
 * Throws RotaError InvalidWindow.
 */
export function rangesOfWindows(windows: readonly TimeWindow[] | undefined): WeekRange[] {
  if (windows === undefined || windows.length === 0) return [{ start: 0, end: weekSeconds }];
  return windows.flatMap(rangesOf);
}

/** The wall clock as a second of the week. */
export function secondOfWeekAt(local: Temporal.ZonedDateTime | Temporal.PlainDateTime): number {
  const { dayOfWeek, hour, minute, second } = local;
  return (dayOfWeek - 1) * daySeconds + hour * 3600 + minute * 60 + second;
}

/** Local time in a time zone (IANA name), as a second of the week. Throws RangeError for an unknown zone. */
export function secondOfWeek(instant: Temporal.Instant, timeZone: string): number {
  return secondOfWeekAt(instant.toZonedDateTimeISO(timeZone));
}

const twoDigits = (value: number): string => String(value).padStart(2, "0");

/** "08:00", and "24:00" at the end of a day. */
function timeText(second: number): string {
  return `${twoDigits(Math.floor(second / 3600))}:${twoDigits(Math.floor(second / 60) % 60)}`;
}

/** A second of the week as text: "Mon 08:00". */
export function secondText(second: number): string {
  const day = days[Math.floor(second / daySeconds) % days.length] ?? "Mon";
  return `${day} ${timeText(second % daySeconds)}`;
}

/**
 * A second of the week after `from`, less than a week ahead: "Mon 08:00", or "next Mon 08:00" if the time has passed
 * today.
 */
export function comingText(second: number, from: number): string {
  const day = (at: number): number => Math.floor(at / daySeconds) % days.length;
  const isPast = day(second) === day(from) && second % weekSeconds <= from;
  return `${isPast ? "next " : ""}${secondText(second)}`;
}

/** A range as text: "Mon 08:00-18:00", "Fri 20:00-Sat 06:00", "the whole week". */
export function rangeText(range: WeekRange): string {
  if (range.end - range.start === weekSeconds) return "the whole week";
  const startDay = Math.floor(range.start / daySeconds);
  const lastDay = Math.floor((range.end - 1) / daySeconds);
  if (startDay !== lastDay) return `${secondText(range.start)}-${secondText(range.end)}`;
  return `${secondText(range.start)}-${timeText(range.end - startDay * daySeconds)}`;
}

/** Sum of the quantities whose window contains the second; windows of one owner do not overlap. */
export function quantityAt(windows: readonly QuantityWindow[], second: number): number {
  return windows
    .filter((window) => window.start <= second && second < window.end)
    .reduce((sum, window) => sum + window.quantity, 0);
}

export interface QuantityChange {
  readonly at: Temporal.Instant;
  /** In effect from this instant on. */
  readonly quantity: number;
}

/** How far ahead to look: every change of a weekly plan comes within a week of local time. */
const horizonDays = 8;

/** A repeated local time has two instants; for a skipped one, the change is at the transition. */
function instantsOf(local: Temporal.PlainDateTime, timeZone: string): Temporal.Instant[] {
  return (["earlier", "later"] as const).map((disambiguation) =>
    local.toZonedDateTime(timeZone, { disambiguation }).toInstant(),
  );
}

function boundaries(
  windows: readonly QuantityWindow[],
  from: Temporal.ZonedDateTime,
): Temporal.Instant[] {
  const monday = from
    .toPlainDate()
    .subtract({ days: from.dayOfWeek - 1 })
    .toPlainDateTime();
  const seconds = new Set(windows.flatMap(({ start, end }) => [start, end % weekSeconds]));
  return [...seconds].flatMap((second) =>
    [0, 1].flatMap((week) =>
      instantsOf(
        monday.add({
          days: week * 7 + Math.floor(second / daySeconds),
          seconds: second % daySeconds,
        }),
        from.timeZoneId,
      ),
    ),
  );
}

function transitions(from: Temporal.ZonedDateTime, until: Temporal.Instant): Temporal.Instant[] {
  const found: Temporal.Instant[] = [];
  let next = from.getTimeZoneTransition("next");
  while (next !== null && Temporal.Instant.compare(next.toInstant(), until) <= 0) {
    found.push(next.toInstant());
    next = next.getTimeZoneTransition("next");
  }
  return found;
}

/** Every change of the quantity in effect within the next eight days, in order. */
export function changesAfter(
  windows: readonly QuantityWindow[],
  instant: Temporal.Instant,
  timeZone: string,
): QuantityChange[] {
  const from = instant.toZonedDateTimeISO(timeZone);
  const until = from.add({ days: horizonDays }).toInstant();
  const moments = [...boundaries(windows, from), ...transitions(from, until)]
    .filter(
      (at) => Temporal.Instant.compare(at, instant) > 0 && Temporal.Instant.compare(at, until) <= 0,
    )
    .sort((left, right) => Temporal.Instant.compare(left, right));
  const changes: QuantityChange[] = [];
  let current = quantityAt(windows, secondOfWeekAt(from));
  for (const at of moments) {
    const quantity = quantityAt(windows, secondOfWeek(at, timeZone));
    if (quantity !== current) changes.push({ at, quantity });
    current = quantity;
  }
  return changes;
}
