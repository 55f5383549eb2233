/** How many pods of a gang fit while candidates are evicted and reprieved; recounts only the nodes that change. */
import type { QuotaState } from "../quota.ts";
import type { Candidate } from "./ordering.ts";
import type { NodeState } from "../nodes.ts";
import { podsOnNode, type Demand } from "../placement.ts";
import { add, subtract, times } from "../resources.ts";
import type { Resources } from "../snapshot.ts";

interface Room {
  room: Resources;
  fits: number;
}

/** How far a quota is exceeded by the preemptor, in GPUs or CPU millicores. */
export interface Excess {
  readonly quota: QuotaState;
  readonly amount: number;
}

export class GangFit {
  readonly #demand: Demand;
  readonly #rooms = new Map<string, Room>();
  readonly #excess = new Map<string, number>();
  readonly #quotas: readonly QuotaState[];
  #total = 0;

  constructor(nodes: readonly NodeState[], demand: Demand, over: readonly Excess[]) {
    this.#demand = demand;
    for (const node of nodes) {
      const fits = podsOnNode(node.future, demand);
      this.#rooms.set(node.name, { room: node.future, fits });
      this.#total += fits;
    }
    this.#quotas = over.map(({ quota }) => quota);
    for (const { quota, amount } of over) this.#excess.set(quota.quota.id, amount);
  }

  /** Whether the whole gang fits, on the nodes and under the quotas. */
  get sufficient(): boolean {
    return this.podsMissing <= 0 && this.#quotas.every((one) => this.excessOf(one) <= 0);
  }

  get podsMissing(): number {
    return this.#demand.parallelism - this.#total;
  }

  excessOf(quota: QuotaState): number {
    return this.#excess.get(quota.quota.id) ?? 0;
  }

  roomOn(node: string): Resources | undefined {
    return this.#rooms.get(node)?.room;
  }

  fitsOn(node: string): number {
    return this.#rooms.get(node)?.fits ?? 0;
  }

  evict(candidate: Candidate): void {
    this.#move(candidate, add, -1);
  }

  reprieve(candidate: Candidate): void {
    this.#move(candidate, subtract, 1);
  }

  #move(candidate: Candidate, change: typeof add, sign: 1 | -1): void {
    const { job } = candidate;
    for (const { node, pods } of job.allocations) {
      const entry = this.#rooms.get(node);
      if (entry) this.#update(entry, change(entry.room, times(job.perPod, pods)));
    }
    for (const quota of this.#quotas) {
      const relief = sign * quota.reliefBy(job);
      this.#excess.set(quota.quota.id, this.excessOf(quota) + relief);
    }
  }

  #update(entry: Room, room: Resources): void {
    entry.room = room;
    this.#total -= entry.fits;
    entry.fits = podsOnNode(room, this.#demand);
    this.#total += entry.fits;
  }
}
