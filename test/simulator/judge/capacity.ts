/** Rooms of nodes while the judge goes through what a cycle did, counted in the plainest way. */
import type { Amounts, Places, World, WorldJob, WorldNode } from "./world.ts";

type Demand = Pick<WorldJob, "perPod" | "parallelism" | "maxPodsPerNode">;

const plus = (a: Amounts, b: Amounts, times: number): number[] =>
  a.map((amount, dimension) => amount + (b[dimension] ?? 0) * times);
const least = (a: Amounts, b: Amounts): number[] =>
  a.map((amount, dimension) => Math.min(amount, b[dimension] ?? 0));

/** Pods that fit; what a pod does not ask for cannot be short. */
export function podsIn(
  room: Amounts,
  { perPod, maxPodsPerNode }: Pick<Demand, "perPod" | "maxPodsPerNode">,
): number {
  const counts = perPod.flatMap((demand, dimension) =>
    demand > 0 ? [Math.floor((room[dimension] ?? 0) / demand)] : [],
  );
  return Math.max(0, Math.min(...counts, maxPodsPerNode ?? Number.POSITIVE_INFINITY));
}

/** The largest share of a pod that is missing. */
const missingIn = (room: Amounts, perPod: Amounts): number =>
  Math.max(
    ...perPod.map((need, dimension) =>
      need > 0 ? Math.max(0, need - Math.max(0, room[dimension] ?? 0)) / need : 0,
    ),
  );

export class Room {
  readonly node: WorldNode;
  /** Nothing is there now. */
  free: Amounts;
  /** Nothing is there once evicted pods have left and what is kept is used. */
  future: Amounts;
  /** What is not kept for anyone, whoever runs there. */
  potential: Amounts;

  constructor(node: WorldNode) {
    this.node = node;
    this.free = node.whole;
    this.future = node.whole;
    this.potential = node.whole;
  }

  /** For a job that starts at once: free, and kept for nobody. */
  get startable(): Amounts {
    return least(this.free, this.future);
  }
}

export type View = (room: Room) => Amounts;
export const now: View = (room) => room.startable;
export const later: View = (room) => room.future;
export const empty: View = (room) => room.node.whole;

export class Capacity {
  readonly rooms: readonly Room[];
  readonly #byName: ReadonlyMap<string, Room>;

  constructor(world: Pick<World, "nodes" | "jobs">) {
    this.rooms = world.nodes.map((node) => new Room(node));
    this.#byName = new Map(this.rooms.map((room) => [room.node.name, room]));
    for (const job of world.jobs.values()) {
      this.start(job, job.allocated);
      if (job.status === "evicting") this.vacate(job);
      this.keep(job, job.kept);
    }
  }

  room(node: string): Room | undefined {
    return this.#byName.get(node);
  }

  accepting(job: WorldJob): Room[] {
    return this.matching(job).filter(({ node }) => node.usable && !job.avoids.includes(node.name));
  }

  /** Those that would accept it if they were available. */
  matching(job: WorldJob): Room[] {
    return this.rooms.filter(
      ({ node }) =>
        (node.taints.length === 0 || job.toleratesAll) &&
        Object.entries(job.nodeSelector).every(([key, value]) => node.labels[key] === value),
    );
  }

  start(job: Pick<Demand, "perPod">, places: Places): void {
    this.#each(job, places, { free: -1, future: -1 });
  }

  keep(job: Pick<Demand, "perPod">, places: Places): void {
    this.#each(job, places, { future: -1, potential: -1 });
  }

  giveBack(job: Pick<Demand, "perPod">, places: Places): void {
    this.#each(job, places, { future: 1, potential: 1 });
  }

  startReserved(job: Pick<Demand, "perPod">, places: Places): void {
    this.#each(job, places, { free: -1, potential: 1 });
  }

  vacate(job: Pick<WorldJob, "perPod" | "allocated">): void {
    this.#each(job, job.allocated, { future: 1 });
  }

  #each(
    { perPod }: Pick<Demand, "perPod">,
    places: Places,
    signs: { readonly free?: number; readonly future?: number; readonly potential?: number },
  ): void {
    for (const [name, pods] of Object.entries(places)) {
      const room = this.#byName.get(name);
      if (!room) continue;
      const { free = 0, future = 0, potential = 0 } = signs;
      room.free = plus(room.free, perPod, free * pods);
      room.future = plus(room.future, perPod, future * pods);
      room.potential = plus(room.potential, perPod, potential * pods);
    }
  }
}

/** Pods of the job that fit on nodes, when others have left besides. */
export function fitting(
  job: Demand,
  rooms: readonly Room[],
  view: View,
  gone: readonly WorldJob[] = [],
): number {
  return rooms.reduce((sum, room) => {
    let amounts = view(room);
    for (const one of gone) amounts = plus(amounts, one.perPod, one.allocated[room.node.name] ?? 0);
    return sum + podsIn(amounts, job);
  }, 0);
}

const inOrder = (...differences: readonly number[]): number =>
  differences.find((difference) => difference !== 0) ?? 0;

/** What so many pods leave: GPUs, then cores and memory as shares of the node. */
const leftover = (room: Room, view: View, perPod: Amounts, pods: number): [number, number] => {
  const [gpus = 0, cpu = 0, memory = 0] = plus(view(room), perPod, -pods);
  const [, wholeCpu = 0, wholeMemory = 0] = room.node.allocatable;
  const shareOf = (amount: number, whole: number): number => (whole > 0 ? amount / whole : 0);
  return [gpus, shareOf(cpu, wholeCpu) + shareOf(memory, wholeMemory)];
};

/**
 * Best fit: the tightest node that takes all pods; else those that take most, the tightest first, and the rest where
 * it leaves the least. Undefined when they do not all fit.
 */
export function bestFit(job: Demand, rooms: readonly Room[], view: View): Places | undefined {
  if (fitting(job, rooms, view) < job.parallelism) return undefined;
  const fits = (room: Room): number => Math.min(job.parallelism, podsIn(view(room), job));
  const tighter = (one: Room, other: Room, pods: number): number => {
    const [gpus, share] = leftover(one, view, job.perPod, pods);
    const [otherGpus, otherShare] = leftover(other, view, job.perPod, pods);
    return inOrder(gpus - otherGpus, share - otherShare);
  };
  const places: Record<string, number> = {};
  let missing = job.parallelism;
  let open = rooms
    .filter((room) => fits(room) > 0)
    .toSorted((a, b) => inOrder(fits(b) - fits(a), tighter(a, b, fits(a))));
  while (missing > 0) {
    const wanted = missing;
    const enough = open.filter((room) => fits(room) >= wanted);
    const [chosen] = enough.length > 0 ? enough.toSorted((a, b) => tighter(a, b, wanted)) : open;
    if (!chosen) return undefined;
    places[chosen.node.name] = Math.min(missing, fits(chosen));
    missing -= places[chosen.node.name] ?? 0;
    open = open.filter((room) => room !== chosen);
  }
  return places;
}

/** Where a job at the head is nearest to starting: where most of its pods fit, then where the least is missing. */
export function nearest(job: Demand, rooms: readonly Room[]): Places | undefined {
  const fits = (room: Room): number => Math.min(job.parallelism, podsIn(room.future, job));
  const ordered = rooms
    .filter((room) => podsIn(room.potential, job) > 0)
    .toSorted((a, b) =>
      inOrder(fits(b) - fits(a), missingIn(a.future, job.perPod) - missingIn(b.future, job.perPod)),
    );
  const places: Record<string, number> = {};
  let missing = job.parallelism;
  for (const room of ordered) {
    const pods = Math.min(missing, podsIn(room.potential, job));
    if (pods > 0) places[room.node.name] = pods;
    missing -= pods;
  }
  return missing === 0 ? places : undefined;
}
