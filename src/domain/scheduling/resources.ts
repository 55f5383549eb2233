/**
 * Arithmetic on resource vectors. Of the resources `byName`, one that a vector does not name is 0; a vector without any
 * has no `byName`, so that most decisions never look at them. Every node has one of each exclusive resource: no vector
 * says so, or each would have to name those of the whole queue. It is added where room is compared with a need.
 */
import { isDevice, unrecordedAmount } from "../resource-names.ts";
import type { Amounts, Resources } from "./snapshot.ts";

export const NOTHING: Resources = { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 0 };

const none: Amounts = {};

/** Per name of either, combined. */
function combined(a: Resources, b: Resources, combine: (a: number, b: number) => number): Amounts {
  const { byName: left = none } = a;
  const { byName: right = none } = b;
  const amounts: Record<string, number> = {};
  for (const name in left) amounts[name] = combine(left[name] ?? 0, right[name] ?? 0);
  for (const name in right) amounts[name] ??= combine(0, right[name] ?? 0);
  return amounts;
}

const isNamed = (a: Resources, b: Resources): boolean =>
  a.byName !== undefined || b.byName !== undefined;

/** Sum per resource. */
export function add(a: Resources, b: Resources): Resources {
  const sum = {
    gpus: a.gpus + b.gpus,
    cpuMillis: a.cpuMillis + b.cpuMillis,
    memoryBytes: a.memoryBytes + b.memoryBytes,
    pods: a.pods + b.pods,
  };
  return isNamed(a, b) ? { ...sum, byName: combined(a, b, (one, other) => one + other) } : sum;
}

/** Difference per resource; may be negative. */
export function subtract(a: Resources, b: Resources): Resources {
  const difference = {
    gpus: a.gpus - b.gpus,
    cpuMillis: a.cpuMillis - b.cpuMillis,
    memoryBytes: a.memoryBytes - b.memoryBytes,
    pods: a.pods - b.pods,
  };
  return isNamed(a, b)
    ? { ...difference, byName: combined(a, b, (one, other) => one - other) }
    : difference;
}

/** Multiple per resource. */
export function times(a: Resources, count: number): Resources {
  const multiple = {
    gpus: a.gpus * count,
    cpuMillis: a.cpuMillis * count,
    memoryBytes: a.memoryBytes * count,
    pods: a.pods * count,
  };
  return isNamed(a, NOTHING)
    ? { ...multiple, byName: combined(a, NOTHING, (one) => one * count) }
    : multiple;
}

/** Minimum per resource. */
export function smaller(a: Resources, b: Resources): Resources {
  const minimum = {
    gpus: Math.min(a.gpus, b.gpus),
    cpuMillis: Math.min(a.cpuMillis, b.cpuMillis),
    memoryBytes: Math.min(a.memoryBytes, b.memoryBytes),
    pods: Math.min(a.pods, b.pods),
  };
  return isNamed(a, b) ? { ...minimum, byName: combined(a, b, Math.min) } : minimum;
}

/** A resource that is not requested cannot be short, even if it is overcommitted. */
const share = (room: number, need: number): number =>
  need <= 0 ? Number.POSITIVE_INFINITY : Math.floor(room / need);

/** How many identical pods fit into the room; never negative. */
export function podsThatFit(room: Resources, perPod: Resources): number {
  let count = Math.min(
    share(room.gpus, perPod.gpus),
    share(room.cpuMillis, perPod.cpuMillis),
    share(room.memoryBytes, perPod.memoryBytes),
    share(room.pods, perPod.pods),
  );
  for (const name in perPod.byName)
    count = Math.min(count, share(roomIn(room, name), perPod.byName[name] ?? 0));
  return Math.max(0, count);
}

/** A resource by its field, or by its name in `byName`. */
export type Dimension = string;

const fields = ["gpus", "cpuMillis", "memoryBytes", "pods"] as const;
const isField = (dimension: Dimension): dimension is (typeof fields)[number] =>
  (fields as readonly string[]).includes(dimension);

/** All that a pod may ask for: the four fields, then what this one names. */
export const dimensionsOf = ({ byName = none }: Resources): readonly Dimension[] => [
  ...fields,
  ...Object.keys(byName),
];

export const quantityOf = (amounts: Resources, dimension: Dimension): number =>
  isField(dimension) ? amounts[dimension] : (amounts.byName?.[dimension] ?? 0);

/** GPUs and other devices, as far as any are asked for: what is scarce, unlike CPU, memory, disks and huge pages. */
export const devicesOf = (amounts: Resources): readonly Dimension[] =>
  dimensionsOf(amounts).filter(
    (one) => (one === "gpus" || isDevice(one)) && quantityOf(amounts, one) > 0,
  );

/** How much of a dimension the room of a node has. */
export const roomIn = (room: Resources, dimension: Dimension): number =>
  quantityOf(room, dimension) + unrecordedAmount(dimension);

/** What a need lacks in the room of a node, per resource; negative where there is more. */
export function shortfall(need: Resources, room: Resources): Resources {
  const lacks = subtract(need, room);
  if (need.byName === undefined) return lacks;
  const byName: Record<string, number> = {};
  for (const name in lacks.byName)
    byName[name] = (lacks.byName[name] ?? 0) - unrecordedAmount(name);
  return { ...lacks, byName };
}

/** Negative amounts become 0. */
export const atLeastZero = (amounts: Resources): Resources =>
  subtract(amounts, smaller(amounts, NOTHING));
