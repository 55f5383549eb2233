/**
 * The nodes' room while a decision is being made: the only mutable state of a decision besides quotas.
 *
 * | room      | amount                      | question that it answers                               |
 * | --------- | --------------------------- | ------------------------------------------------------ |
 * | capacity  | allocatable - other usage   | would the gang fit if the node were empty              |
 * | potential | capacity - reserved         | would it fit if every job ended                        |
 * | free      | capacity - committed        | is it physically there now                             |
 * | future    | free + leaving - reserved   | will it fit when pods have left, reservations started  |
 * | startable | the less of free and future | may a job start now, and take nothing that is reserved |
 */
import { acceptsPods } from "./node-filters.ts";
import { add, smaller, subtract, times } from "./resources.ts";
import type { NodeRoom } from "./decision.ts";
import type { LiveJob, NodeConstraints, NodeSnapshot, Placement, Resources } from "./snapshot.ts";

export class NodeState {
  readonly name: string;
  readonly snapshot: NodeSnapshot;
  free: Resources;
  /** Negative where more is reserved than there is. */
  future: Resources;
  startable: Resources;
  potential: Resources;
  /** Keys of the jobs for which something is kept here, for messages. */
  readonly keptFor: string[] = [];

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

  start(amount: Resources): void {
    this.free = subtract(this.free, amount);
    this.#changeFuture(subtract(this.future, amount));
  }

  keep(amount: Resources): void {
    this.potential = subtract(this.potential, amount);
    this.#changeFuture(subtract(this.future, amount));
  }

  /** Undoes keep. */
  giveBack(amount: Resources): void {
    this.potential = add(this.potential, amount);
    this.#changeFuture(add(this.future, amount));
  }

  /** A held job starts on its own hold: what will be free does not change, only what is free now. */
  startReserved(amount: Resources): void {
    this.free = subtract(this.free, amount);
    this.potential = add(this.potential, amount);
    this.#changeFuture(this.future);
  }

  /** A victim will leave. */
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

  /** Nodes that accept the job's pods, by name. Cached by constraints: queues repeat a few of them. */
  accepting(constraints: NodeConstraints): readonly NodeState[] {
    const key = constraintsKey(constraints);
    const known = this.#accepting.get(key);
    if (known) return known;
    const accepting = this.all.filter((node) => acceptsPods(node.snapshot, constraints));
    this.#accepting.set(key, accepting);
    return accepting;
  }

  /** Room on the nodes that this decision touched. */
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

  /** Keeps the placements for a job, whose key explains to others why they cannot have them. */
  keep(placements: readonly Placement[], perPod: Resources, key: string): void {
    this.#each(placements, perPod, (node, amount) => {
      node.keep(amount);
      node.keptFor.push(key);
    });
  }

  giveBack(placements: readonly Placement[], perPod: Resources): void {
    this.#each(placements, perPod, (node, amount) => node.giveBack(amount));
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

export const constraintsKey = (constraints: NodeConstraints): string =>
  JSON.stringify([
    constraints.nodeSelector,
    constraints.affinityTerms ?? null,
    constraints.storageTerms ?? null,
    constraints.tolerations,
    constraints.avoidNodes,
  ]);
