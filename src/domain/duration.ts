const pattern = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$/;

/** Seconds of a duration such as 2h30m. Throws RangeError on anything else, and on zero. */
export function durationSeconds(text: string): number {
  const [, hours = "0", minutes = "0", seconds = "0"] = pattern.exec(text) ?? [];
  const total = Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
  if (total <= 0 || total > 2_147_483_647) {
    throw new RangeError(`a duration such as 90m or 2h30m is wanted, not "${text}"`);
  }
  return total;
}
