export interface BackoffOptions {
  readonly baseSeconds: number;
  readonly maxSeconds: number;
  /** A number in [0, 1); default Math.random. */
  readonly random?: () => number;
}

/**
 * Seconds of exponential back-off with "equal jitter": half of the step is fixed, half is random, so that clients that
 * failed together do not retry together (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
 * @param failures number of consecutive failures, from 1
 */
export function backoffSeconds(failures: number, options: BackoffOptions): number {
  const exponent = Math.min(Math.max(failures, 1) - 1, 52);
  const step = Math.min(options.maxSeconds, options.baseSeconds * 2 ** exponent);
  const random = options.random ?? Math.random;
  return step / 2 + (step / 2) * random();
}
