import { systemClock } from "../../src/runtime/clock.ts";
import { memory, report, stopwatch } from "./child.ts";

const idleSeconds = 20;
const settleSeconds = 3;

/** Measures what `hold` takes to hold all objects, and then what it costs to do nothing. */
export async function reportHolding(
  objects: number,
  hold: () => Promise<() => number>,
): Promise<never> {
  const stop = stopwatch();
  const size = await hold();
  const sync = stop();
  if (size() !== objects) throw new Error(`holds ${size()} objects, not ${objects}`);
  await systemClock.sleep(settleSeconds);
  const { rssMegabytes, heapMegabytes } = memory();
  const stopIdle = stopwatch();
  await systemClock.sleep(idleSeconds);
  const idle = stopIdle();
  return report({
    syncSeconds: sync.seconds,
    syncCpuSeconds: sync.cpuSeconds,
    rssMegabytes,
    heapMegabytes,
    idleCpuPercent: (100 * idle.cpuSeconds) / idle.seconds,
  });
}
