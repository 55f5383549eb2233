const pattern = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/;

/** Parses a duration such as 2h30m to seconds. Throws RangeError if it is malformed, zero or too long. */
export function durationSeconds(text: string): number {
  const [, hours = "0", minutes = "0", seconds = "0"] = pattern.exec(text) ?? [];
  const total = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  if (total <= 0 || total > 2_147_483_647) {
    throw new RangeError(`must be a positive duration such as 90m or 2h30m, not "${text}"`);
  }
  return total;
}
