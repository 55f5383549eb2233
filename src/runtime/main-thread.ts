/**
 * CPU time of this thread. A process has one main thread, whose event loop renews the Lease and answers probes; what it has
 * used is a fact of the process, hence of this module.
 */
let asideMicroseconds = 0;

const usedMicroseconds = (): number => {
  const { user, system } = process.threadCpuUsage();
  return user + system;
};

/** CPU seconds that this thread has used, without what was set aside. */
export const threadSeconds = (): number => (usedMicroseconds() - asideMicroseconds) / 1e6;

/** Runs work, not to be counted: its duration has a bound and a metric of its own. */
export function setAside<Result>(work: () => Result): Result {
  const before = usedMicroseconds();
  try {
    return work();
  } finally {
    asideMicroseconds += usedMicroseconds() - before;
  }
}
