/**
 * Gang placement: identical pods on nodes, all or none.
 * Feasibility is exact (the sum of the pods that fit per node). The choice is a best fit that avoids fragmentation: one
 * node if one is enough, else the fewest nodes; the remainder goes where it leaves the least free. Among equals the job's
 * wishes decide (preferred node affinity, PreferNoSchedule taints), then the name.
 */
import type { NodeState } from "./nodes.ts";
import { isExclusive } from "../resource-names.ts";
import { compareWishes, type Wishes, wishesOn } from "./node-filters.ts";
import { podsThatFit } from "./resources.ts";
import type { NodeConstraints, Placement, Resources } from "./snapshot.ts";

/** Selects which room of a node to use, such as free now or in future. */
export type View = (node: NodeState) => Resources;
/** Free now, without reservations. */
export const startableRoom: View = (node) => node.startable;
/** Free once evicted pods have terminated. */
export const futureRoom: View = (node) => node.future;

export interface Demand extends Partial<Pick<NodeConstraints, "tolerations" | "preferredTerms">> {
  readonly perPod: Resources;
  readonly parallelism: number;
  /** Absent: no limit. */
  readonly maxPodsPerNode?: number;
}

type PerNode = Pick<Demand, "perPod" | "maxPodsPerNode">;

/** How many pods of the gang fit into the room of one node. */
export const podsOnNode = (
  room: Resources,
  { perPod, maxPodsPerNode = Number.POSITIVE_INFINITY }: PerNode,
): number => Math.min(podsThatFit(room, perPod), maxPodsPerNode);

/** The most pods of the gang that one node may have, however large it is: one, if they take an exclusive resource. */
export const limitPerNode = ({
  perPod,
  maxPodsPerNode = Number.POSITIVE_INFINITY,
}: PerNode): number => (Object.keys(perPod.byName ?? {}).some(isExclusive) ? 1 : maxPodsPerNode);

interface Slot {
  readonly node: NodeState;
  readonly room: Resources;
  /** Pods that fit, at most the size of the gang. */
  readonly fits: number;
  /** Computed where it decides. */
  wishes?: Wishes;
}

/** The placements of the gang's pods; undefined if they do not all fit. */
export function placeGang(
  nodes: readonly NodeState[],
  demand: Demand,
  view: View,
): readonly Placement[] | undefined {
  const slots: Slot[] = [];
  let total = 0;
  for (const node of nodes) {
    const room = view(node);
    const fits = Math.min(podsOnNode(room, demand), demand.parallelism);
    if (fits === 0) continue;
    total += fits;
    slots.push({ node, room, fits });
  }
  return total < demand.parallelism ? undefined : fill(slots, demand);
}

function fill(slots: readonly Slot[], demand: Demand): readonly Placement[] {
  const whole = tightest(slots, demand.parallelism, demand);
  if (whole) return [{ node: whole.node.name, pods: demand.parallelism }];
  const largestFirst = [...slots].sort((a, b) => b.fits - a.fits || tighter(a, b, a.fits, demand));
  return fillInOrder(largestFirst, demand);
}

function fillInOrder(slots: readonly Slot[], demand: Demand): readonly Placement[] {
  const placements: Placement[] = [];
  let left = demand.parallelism;
  for (const [index, slot] of slots.entries()) {
    if (left > slot.fits) {
      placements.push({ node: slot.node.name, pods: slot.fits });
      left -= slot.fits;
      continue;
    }
    const last = tightest(slots.slice(index), left, demand) ?? slot;
    placements.push({ node: last.node.name, pods: left });
    break;
  }
  return placements.sort((a, b) => (a.node < b.node ? -1 : 1));
}

/** The slot that fits the pods and leaves the least free; of equals the one that meets the wishes, then the first by name. */
function tightest(slots: readonly Slot[], pods: number, demand: Demand): Slot | undefined {
  let best: Slot | undefined;
  for (const slot of slots) {
    if (slot.fits < pods) continue;
    if (!best || comparePlaces(slot, best, pods, demand) < 0) best = slot;
  }
  return best;
}

function tighter(a: Slot, b: Slot, pods: number, demand: Demand): number {
  return comparePlaces(a, b, pods, demand) || (a.node.name < b.node.name ? -1 : 1);
}

const comparePlaces = (a: Slot, b: Slot, pods: number, demand: Demand): number =>
  compareLeftover(a, b, pods, demand.perPod) ||
  compareWishes(wishesOf(a, demand), wishesOf(b, demand));

function wishesOf(slot: Slot, demand: Demand): Wishes {
  slot.wishes ??= wishesOn(slot.node.snapshot, demand);
  return slot.wishes;
}

/** GPUs first, the scarcest resource, then the others as shares of the node. */
function compareLeftover(a: Slot, b: Slot, pods: number, perPod: Resources): number {
  const gpus = a.room.gpus - b.room.gpus;
  if (gpus !== 0) return gpus;
  return leftoverShare(a, pods, perPod) - leftoverShare(b, pods, perPod);
}

function leftoverShare(slot: Slot, pods: number, perPod: Resources): number {
  const { allocatable } = slot.node.snapshot;
  const share = (room: number, need: number, whole: number): number =>
    whole <= 0 ? 0 : (room - need * pods) / whole;
  return (
    share(slot.room.cpuMillis, perPod.cpuMillis, allocatable.cpuMillis) +
    share(slot.room.memoryBytes, perPod.memoryBytes, allocatable.memoryBytes)
  );
}
