export interface BackoffOptions {
  readonly baseSeconds: number;
  readonly maxSeconds: number;
  /** A number in [0, 1); Math.random unless a test gives its own. */
  readonly random?: () => number;
}

/**
 * Exponential back-off with "equal jitter": half of the step is fixed, half is random, so that many clients that failed
 * together do not come back together (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
 * @param failures how often it has failed in a row, from 1
 */
export function backoffSeconds(failures: number, options: BackoffOptions): number {
  const exponent = Math.min(Math.max(failures, 1) - 1, 52);
  const step = Math.min(options.maxSeconds, options.baseSeconds * 2 ** exponent);
  const random = options.random ?? Math.random;
  return step / 2 + (step / 2) * random();
}
