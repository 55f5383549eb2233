/**
 * The room of the nodes during a decision: its only mutable state besides quotas.
 *
 * | room      | amount                      | question                                             |
 * | --------- | --------------------------- | ---------------------------------------------------- |
 * | capacity  | allocatable - other usage   | does the gang fit on the empty node?                 |
 * | potential | capacity - reserved         | does it fit if every job ends?                       |
 * | free      | capacity - committed        | is it free now?                                      |
 * | future    | free + leaving - reserved   | does it fit once pods terminated, reservations used? |
 * | startable | the less of free and future | may a job start now, without reserved capacity?      |
 */
import { acceptsPods, acceptsWhenAvailable } from "./node-filters.ts";
import { add, NOTHING, smaller, subtract, times } from "./resources.ts";
import type { NodeRoom } from "./decision.ts";
import type { LiveJob, NodeConstraints, NodeSnapshot, Placement, Resources } from "./snapshot.ts";

export class NodeState {
  readonly name: string;
  readonly snapshot: NodeSnapshot;
  free: Resources;
  /** Negative if more is reserved than will be free. */
  future: Resources;
  startable: Resources;
  potential: Resources;
  /** Keys of the jobs with a reservation here, for messages. */
  readonly reservedFor: string[] = [];

  constructor(snapshot: NodeSnapshot) {
    this.name = snapshot.name;
    this.snapshot = snapshot;
    this.free = subtract(this.capacity, snapshot.committed);
    this.future = subtract(add(this.free, snapshot.leaving), snapshot.reserved);
    this.startable = smaller(this.free, this.future);
    this.potential = subtract(this.capacity, snapshot.reserved);
  }

  get capacity(): Resources {
    return subtract(this.snapshot.allocatable, this.snapshot.otherUsage);
  }

  /** The capacity once its unhealthy devices work again. */
  get healthyCapacity(): Resources {
    const { unhealthyGpus: gpus, unhealthyByName: byName } = this.snapshot;
    return add(this.capacity, { ...NOTHING, gpus, ...(byName !== undefined && { byName }) });
  }

  start(amount: Resources): void {
    this.free = subtract(this.free, amount);
    this.#changeFuture(subtract(this.future, amount));
  }

  reserve(amount: Resources): void {
    this.potential = subtract(this.potential, amount);
    this.#changeFuture(subtract(this.future, amount));
  }

  /** Undoes reserve. */
  release(amount: Resources): void {
    this.potential = add(this.potential, amount);
    this.#changeFuture(add(this.future, amount));
  }

  /** A reserved job starts: its reservation becomes usage, so `future` does not change. */
  startReserved(amount: Resources): void {
    this.free = subtract(this.free, amount);
    this.potential = add(this.potential, amount);
    this.#changeFuture(this.future);
  }

  /** A victim will terminate. */
  vacate(amount: Resources): void {
    this.#changeFuture(add(this.future, amount));
  }

  #changeFuture(future: Resources): void {
    this.future = future;
    this.startable = smaller(this.free, future);
  }
}

export class Nodes {
  readonly all: readonly NodeState[];
  readonly #byName: ReadonlyMap<string, NodeState>;
  readonly #accepting = new Map<string, readonly NodeState[]>();
  readonly #changed = new Set<NodeState>();

  constructor(snapshots: readonly NodeSnapshot[]) {
    this.all = snapshots
      .map((snapshot) => new NodeState(snapshot))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    this.#byName = new Map(this.all.map((node) => [node.name, node]));
  }

  get(name: string): NodeState | undefined {
    return this.#byName.get(name);
  }

  /** Nodes that match the constraints, by name. Cached: a queue has few distinct constraints. */
  accepting(constraints: NodeConstraints): readonly NodeState[] {
    const key = constraintsKey(constraints);
    const known = this.#accepting.get(key);
    if (known) return known;
    const accepting = this.all.filter((node) => acceptsPods(node.snapshot, constraints));
    this.#accepting.set(key, accepting);
    return accepting;
  }

  /** Nodes that match the constraints or would if they were available, by name. */
  acceptingWhenAvailable(constraints: NodeConstraints): readonly NodeState[] {
    return this.all.filter((node) => acceptsWhenAvailable(node.snapshot, constraints));
  }

  /** Future room on the nodes that this decision changed. */
  changed(): readonly NodeRoom[] {
    return [...this.#changed].map((node) => ({ node: node.name, room: node.future }));
  }

  /** Schedulable nodes. */
  get usable(): number {
    return this.all.filter((node) => node.snapshot.schedulable).length;
  }

  start(placements: readonly Placement[], perPod: Resources): void {
    this.#each(placements, perPod, (node, amount) => node.start(amount));
  }

  /** Reserves the placements; the key names the job in the messages of others. */
  reserve(placements: readonly Placement[], perPod: Resources, key: string): void {
    this.#each(placements, perPod, (node, amount) => {
      node.reserve(amount);
      node.reservedFor.push(key);
    });
  }

  release(placements: readonly Placement[], perPod: Resources): void {
    this.#each(placements, perPod, (node, amount) => node.release(amount));
  }

  startReserved(placements: readonly Placement[], perPod: Resources): void {
    this.#each(placements, perPod, (node, amount) => node.startReserved(amount));
  }

  vacate(victim: LiveJob): void {
    this.#each(victim.allocations, victim.perPod, (node, amount) => node.vacate(amount));
  }

  #each(
    placements: readonly Placement[],
    perPod: Resources,
    apply: (node: NodeState, amount: Resources) => void,
  ): void {
    for (const { node: name, pods } of placements) {
      const node = this.#byName.get(name);
      if (!node) continue;
      this.#changed.add(node);
      apply(node, times(perPod, pods));
    }
  }
}

/** Equal for equal constraints. */
export const constraintsKey = (constraints: NodeConstraints): string =>
  JSON.stringify([
    constraints.nodeSelector,
    constraints.affinityTerms ?? null,
    constraints.storageTerms ?? null,
    constraints.tolerations,
    constraints.avoidNodes,
  ]);
