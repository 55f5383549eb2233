/** How close a node is to fitting one more pod. */
import type { NodeState } from "./nodes.ts";
import { limitPerNode, podsOnNode, type Demand, type View } from "./placement.ts";
import { dimensionsOf, quantityOf, roomIn, subtract, times } from "./resources.ts";
import type { Resources } from "./snapshot.ts";

/** The largest missing share of any resource: 0 if the demand fits, 1 if one resource is used up. */
export function missingShare(room: Resources, need: Resources): number {
  return Math.max(
    ...dimensionsOf(need).map((one) => share(roomIn(room, one), quantityOf(need, one))),
  );
}

const share = (room: number, need: number): number =>
  need <= 0 ? 0 : Math.max(0, need - Math.max(0, room)) / need;

export interface Closest {
  readonly node: NodeState;
  /** Remains on the node after the pods that fit. */
  readonly room: Resources;
  /** Pods that fit on all nodes together. */
  readonly fitting: number;
}

/** The node closest to fitting one more pod of the gang, the first of equals; undefined without nodes. */
export function closestNode(
  nodes: readonly NodeState[],
  demand: Demand,
  view: View,
): Closest | undefined {
  const { perPod } = demand;
  let best: { node: NodeState; room: Resources; missing: number } | undefined;
  let fitting = 0;
  for (const node of nodes) {
    const fits = podsOnNode(view(node), demand);
    fitting += fits;
    const room = subtract(view(node), times(perPod, fits));
    const isFull = fits >= limitPerNode(demand);
    const missing = isFull ? Number.POSITIVE_INFINITY : missingShare(room, perPod);
    if (!best || missing < best.missing) best = { node, room, missing };
  }
  return best && { node: best.node, room: best.room, fitting };
}
