/** Windows of a week in short: "every day 07:00-19:00", "Mon-Fri 20:00-06:00, Sat 08:00-12:00". */
import { days, weekSeconds, type WeekRange } from "../domain/windows.ts";

const daySeconds = 86_400;

/** A window that ends with Sunday and one that starts on Monday are joined. */
function joined(ranges: readonly WeekRange[]): WeekRange[] {
  const first = ranges.find(({ start }) => start === 0);
  const last = ranges.find(({ end }) => end === weekSeconds);
  if (!first || !last || first === last) return [...ranges];
  const others = ranges.filter((range) => range !== first && range !== last);
  return [...others, { start: last.start, end: weekSeconds + first.end }];
}

const twoDigits = (value: number): string => String(value).padStart(2, "0");

/** Midnight at the end of a window is 24:00. */
function timeText(second: number, isEnd: boolean): string {
  const ofDay = second % daySeconds;
  if (isEnd && ofDay === 0) return "24:00";
  return `${twoDigits(Math.floor(ofDay / 3600))}:${twoDigits(Math.floor(ofDay / 60) % 60)}`;
}

const dayName = (index: number): string => days[index] ?? "";

/** "every day", "Mon-Fri", "Mon, Wed" */
function daysText(indexes: readonly number[]): string {
  if (indexes.length === days.length) return "every day";
  const sorted = indexes.toSorted((a, b) => a - b);
  const [first = 0] = sorted;
  const last = sorted.at(-1) ?? first;
  const isRun = sorted.length > 2 && last - first === sorted.length - 1;
  return isRun ? `${dayName(first)}-${dayName(last)}` : sorted.map(dayName).join(", ");
}

function timesText({ start, end }: WeekRange): string {
  const wholeDays = (end - start) / daySeconds;
  if (wholeDays === 1 && start % daySeconds === 0) return "all day";
  const until = timeText(end, true);
  const text = `${timeText(start, false)}-${until}`;
  if (wholeDays <= 1) return text;
  const lastDay = Math.floor((end - 1) / daySeconds) % days.length;
  return `${timeText(start, false)} to ${dayName(lastDay)} ${until}`;
}

/** Groups days with equal times; windows across Sunday midnight are joined. */
export function weekText(ranges: readonly WeekRange[]): string {
  if (ranges.some(({ start, end }) => end - start === weekSeconds)) return "the whole week";
  const groups = Map.groupBy(joined(ranges), timesText);
  return [...groups]
    .map(
      ([times, of]) =>
        `${daysText(of.map(({ start }) => Math.floor(start / daySeconds)))} ${times}`,
    )
    .join(", ");
}
