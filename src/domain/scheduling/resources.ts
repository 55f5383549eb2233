/** Arithmetic on resource vectors. */
import type { Resources } from "./snapshot.ts";

export const NOTHING: Resources = { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 0 };

/** Sum per dimension. */
export const add = (a: Resources, b: Resources): Resources => ({
  gpus: a.gpus + b.gpus,
  cpuMillis: a.cpuMillis + b.cpuMillis,
  memoryBytes: a.memoryBytes + b.memoryBytes,
  pods: a.pods + b.pods,
});

/** Difference per dimension; may be negative. */
export const subtract = (a: Resources, b: Resources): Resources => ({
  gpus: a.gpus - b.gpus,
  cpuMillis: a.cpuMillis - b.cpuMillis,
  memoryBytes: a.memoryBytes - b.memoryBytes,
  pods: a.pods - b.pods,
});

/** Multiple per dimension. */
export const times = (a: Resources, count: number): Resources => ({
  gpus: a.gpus * count,
  cpuMillis: a.cpuMillis * count,
  memoryBytes: a.memoryBytes * count,
  pods: a.pods * count,
});

/** Minimum per dimension. */
export const smaller = (a: Resources, b: Resources): Resources => ({
  gpus: Math.min(a.gpus, b.gpus),
  cpuMillis: Math.min(a.cpuMillis, b.cpuMillis),
  memoryBytes: Math.min(a.memoryBytes, b.memoryBytes),
  pods: Math.min(a.pods, b.pods),
});

/** A resource that is not requested cannot be short, even if it is overcommitted. */
const share = (room: number, need: number): number =>
  need <= 0 ? Number.POSITIVE_INFINITY : Math.floor(room / need);

/** How many identical pods fit into the room; never negative. */
export function podsThatFit(room: Resources, perPod: Resources): number {
  const count = Math.min(
    share(room.gpus, perPod.gpus),
    share(room.cpuMillis, perPod.cpuMillis),
    share(room.memoryBytes, perPod.memoryBytes),
    share(room.pods, perPod.pods),
  );
  return Math.max(0, count);
}
