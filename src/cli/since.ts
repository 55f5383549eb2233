/** Points in time: 90m, 24h, 7d, 2026-06-01, 2026-06-01T08:00:00Z. */
import { CliError, exitCodes } from "./errors.ts";

const secondsOf: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400, w: 604_800 };
const agoPattern = /^(\d{1,6})([mhdw])$/;
const datePattern = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/;

/** An RFC 3339 instant. A date alone is midnight in UTC. */
export function sinceOf(text: string, now = Date.now()): string {
  const [, count, unit = ""] = agoPattern.exec(text) ?? [];
  const seconds = secondsOf[unit];
  if (count !== undefined && seconds !== undefined) {
    return new Date(now - Number(count) * seconds * 1000).toISOString();
  }
  const instant = datePattern.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(instant)) return new Date(instant).toISOString();
  throw new CliError(
    `invalid time "${text}": must be an age (90m, 24h, 7d, 2w), a date (2026-06-01) or an RFC 3339 time (2026-06-01T08:00:00Z)`,
    exitCodes.usage,
  );
}
