/**
 * Whole sequences of decisions on a small cluster: nothing is overcommitted, holds are respected, and evictions
 * come to an end although no job ever does. A cycle of preemption would show as a sequence that never settles.
 */
import { expect } from "chai";
import * as fc from "fast-check";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import { rankEntitlement } from "../../../src/domain/scheduling/entitlement.ts";
import { add, NOTHING, times } from "../../../src/domain/scheduling/resources.ts";
import type {
  Ceiling,
  HeldJob,
  LiveJob,
  NodeSnapshot,
  Placement,
  QueuedJob,
  Resources,
  Snapshot,
  Verdict,
} from "../../../src/domain/scheduling/types.ts";
import { propertyRuns } from "../../support/property.ts";
import { aCeiling, aJob, aNode, resources } from "./support.ts";

interface Runner {
  readonly job: QueuedJob;
  state: "queued" | "held" | "live" | "leaving";
  attempt: number;
  startedAtSeconds: number;
  placements: readonly Placement[];
  borrowing: boolean;
}

/** Held jobs first, then those inside their plans, then borrowers: the order in which the cycle writes. */
const byStart = (one: Verdict, other: Verdict): number => startRank(one) - startRank(other);
const startRank = (verdict: Verdict): number =>
  verdict.kind === "admit"
    ? 1 + Number(verdict.borrowing)
    : Number(verdict.kind !== "activate") * 3;

/** In order of priority, then start; held jobs have not started. */
function byRank(one: Runner, other: Runner): number {
  const startOf = ({ state, startedAtSeconds }: Runner): number =>
    state === "held" ? Number.MAX_SAFE_INTEGER : startedAtSeconds;
  return (
    other.job.priority - one.job.priority ||
    startOf(one) - startOf(other) ||
    (one.job.id < other.job.id ? -1 : 1)
  );
}

/** A cluster in memory that does what the decisions say; leaving pods are gone after the next decision. */
class World {
  readonly runners: Runner[];
  readonly #nodes: readonly NodeSnapshot[];
  readonly #quantities: ReadonlyMap<string, number>;
  #now = 0;
  evictions = 0;

  constructor(
    nodes: readonly NodeSnapshot[],
    quantities: ReadonlyMap<string, number>,
    jobs: readonly QueuedJob[],
  ) {
    this.#nodes = nodes;
    this.#quantities = quantities;
    this.runners = jobs.map((job) => ({
      job,
      state: "queued",
      attempt: 0,
      startedAtSeconds: 0,
      placements: [],
      borrowing: false,
    }));
  }

  /** One cycle; true when it changed anything. */
  step(): boolean {
    this.#now += 1;
    this.#rank();
    const before = this.#fingerprint();
    const inside = this.#in("live", "held").filter(({ borrowing }) => !borrowing);
    const verdicts = decide(this.#snapshot()).verdicts.toSorted(byStart);
    for (const [index, verdict] of verdicts.entries()) this.#apply(verdict, index);
    this.#check();
    this.#checkEntitlement(inside, verdicts);
    return this.#fingerprint() !== before || this.#vacate();
  }

  #in(...states: Runner["state"][]): Runner[] {
    return this.runners.filter(({ state }) => states.includes(state));
  }

  #fingerprint(): string {
    return JSON.stringify(
      this.runners.map(({ state, attempt, placements }) => [state, attempt, placements]),
    );
  }

  #vacate(): boolean {
    const leaving = this.#in("leaving");
    for (const one of leaving) Object.assign(one, { state: "queued", placements: [] });
    return leaving.length > 0;
  }

  #ceilings(): Ceiling[] {
    return [...this.#quantities].map(([id, quantity]) => {
      const under = this.#in("live", "held").filter(({ job }) => job.ceilings.includes(id));
      const usageOf = (borrowing: boolean): number =>
        under
          .filter((one) => one.borrowing === borrowing)
          .reduce((sum, { job }) => sum + job.perPod.gpus * job.parallelism, 0);
      return aCeiling(id, quantity, usageOf(false), { borrowed: usageOf(true) });
    });
  }

  #rank(): void {
    const limits = this.#quantities;
    const ranked = this.#in("live", "held").toSorted(byRank);
    const standings = rankEntitlement(
      ranked.map(({ job }) => {
        const amount = job.perPod.gpus * job.parallelism;
        const asked = amount > 0 ? job.ceilings : [];
        return {
          id: job.id,
          unplanned: job.unplanned,
          claims: asked.map((ceilingId) => ({
            ceilingId,
            amount,
            limit: limits.get(ceilingId) ?? 0,
            ahead: 0,
          })),
        };
      }),
    );
    for (const one of ranked) one.borrowing = standings.get(one.job.id)?.borrowing ?? false;
  }

  #usage(node: string, ...states: Runner["state"][]): Resources {
    return this.#in(...states).reduce((sum, { job, placements }) => {
      const pods = placements
        .filter((one) => one.node === node)
        .reduce((n, one) => n + one.pods, 0);
      return add(sum, times(job.perPod, pods));
    }, NOTHING);
  }

  #snapshot(): Snapshot {
    const queue = this.#in("queued")
      .map(({ job, attempt }) => Object.assign({}, job, { attempt }))
      .sort(
        (a, b) =>
          b.priority - a.priority ||
          a.queuedAtSeconds - b.queuedAtSeconds ||
          (a.id < b.id ? -1 : 1),
      );
    return {
      pool: "default",
      nowSeconds: this.#now,
      nodes: this.#nodes.map((node) =>
        Object.assign({}, node, {
          committed: this.#usage(node.name, "live", "leaving"),
          leaving: this.#usage(node.name, "leaving"),
          held: this.#usage(node.name, "held"),
        }),
      ),
      ceilings: this.#ceilings(),
      queue,
      held: this.#in("held").map((one): HeldJob => this.#described(one)),
      victims: this.#in("live").map((one): LiveJob => this.#described(one)),
      victimsFor: queue.map(({ id }) => id),
    };
  }

  #described(one: Runner): LiveJob & HeldJob {
    const { job, attempt, startedAtSeconds, borrowing, placements } = one;
    return {
      id: job.id,
      key: job.key,
      attempt,
      priority: job.priority,
      status: "running",
      startedAtSeconds,
      borrowing,
      perPod: job.perPod,
      allocations: placements,
      placements,
      ceilings: job.ceilings,
      expiresAtSeconds: Number.POSITIVE_INFINITY,
    };
  }

  /** What was inside its plans, or was admitted as such, stays inside until a job before it takes its place. */
  #checkEntitlement(inside: readonly Runner[], verdicts: readonly Verdict[]): void {
    this.#rank();
    const admitted = this.#in("live").filter(({ job }) =>
      verdicts.some(
        (verdict) => verdict.kind === "admit" && verdict.jobId === job.id && !verdict.borrowing,
      ),
    );
    const gained = this.#in("live", "held").filter(
      (one) => !one.borrowing && !inside.includes(one) && !admitted.includes(one),
    );
    for (const one of [...inside, ...admitted]) {
      if (!one.borrowing || one.state === "leaving") continue;
      const taken = gained.some((other) => byRank(other, one) < 0);
      expect(taken, `${one.job.key} lost its entitlement to nobody`).to.equal(true);
    }
  }

  #apply(verdict: Verdict, index: number): void {
    const runner = this.runners.find(({ job }) => job.id === verdict.jobId);
    if (!runner) throw new Error(`verdict about ${verdict.jobId}`);
    if (verdict.kind === "admit" || verdict.kind === "activate")
      this.#startRunner(runner, verdict.placements, index);
    if (verdict.kind !== "preempt") return;
    Object.assign(runner, { state: "held", placements: verdict.placements });
    for (const { jobId } of verdict.victims) this.#evict(jobId);
  }

  #startRunner(runner: Runner, placements: readonly Placement[], index: number): void {
    const attempt = runner.attempt + 1;
    // As the database does it: starts of one decision are a moment apart, in the order of their writing.
    const startedAtSeconds = this.#now + index / 1000;
    Object.assign(runner, { state: "live", attempt, placements, startedAtSeconds });
  }

  #evict(id: string): void {
    const victim = this.runners.find(({ job }) => job.id === id);
    expect(victim?.state, `${id} must be live to be evicted`).to.equal("live");
    if (victim) victim.state = "leaving";
    this.evictions += 1;
  }

  #check(): void {
    for (const { name, allocatable } of this.#nodes) {
      const used = this.#usage(name, "live", "leaving");
      expect(used.gpus, `GPUs on ${name}`).to.be.at.most(allocatable.gpus);
      expect(used.cpuMillis, `millicores on ${name}`).to.be.at.most(allocatable.cpuMillis);
      const kept = add(this.#usage(name, "live"), this.#usage(name, "held"));
      expect(kept.gpus, `GPUs promised on ${name}`).to.be.at.most(allocatable.gpus);
    }
    for (const { job, placements } of this.#in("live", "held")) {
      const pods = placements.reduce((sum, one) => sum + one.pods, 0);
      expect(pods, `pods of ${job.key}`).to.equal(job.parallelism);
    }
  }
}

const CEILING_SETS = [[], ["c0"], ["c1"], ["c0", "c1"]] as const;

const worlds = fc
  .record({
    nodes: fc.array(fc.integer({ min: 2, max: 8 }), { minLength: 1, maxLength: 3 }),
    quantities: fc.tuple(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 8 })),
    jobs: fc.array(
      fc.record({
        priority: fc.integer({ min: 0, max: 4 }),
        gpus: fc.integer({ min: 0, max: 5 }),
        cores: fc.integer({ min: 1, max: 5 }),
        parallelism: fc.integer({ min: 1, max: 3 }),
        ceilings: fc.constantFrom(...CEILING_SETS),
        allowsBorrowing: fc.boolean(),
        unplanned: fc.integer({ min: 0, max: 5 }).map((dice) => dice === 0),
        preempts: fc.integer({ min: 0, max: 5 }).map((dice) => dice > 0),
      }),
      { minLength: 2, maxLength: 10, size: "max" },
    ),
  })
  .map(({ nodes, quantities, jobs }) => ({
    nodes: nodes.map((gpus, index) =>
      aNode(`n${index}`, { allocatable: resources(gpus, 10, 20, 0) }),
    ),
    quantities: new Map(quantities.map((quantity, index) => [`c${index}`, quantity])),
    jobs: jobs.map(({ gpus, cores, ...rest }, index) =>
      aJob(`j${index}`, { ...rest, perPod: resources(gpus, cores, 1, 0), queuedAtSeconds: index }),
    ),
  }));

/** Jobs arrive one after the other; afterwards nothing happens but decisions. */
function settle(world: World, arriving: readonly QueuedJob[]): number {
  for (const job of arriving) {
    world.runners.push({
      job,
      state: "queued",
      attempt: 0,
      startedAtSeconds: 0,
      placements: [],
      borrowing: false,
    });
    world.step();
  }
  const most = 60 * arriving.length;
  for (let cycle = 1; cycle <= most; cycle += 1) {
    if (!world.step()) return cycle;
  }
  throw new Error(`not settled after ${most} cycles and ${world.evictions} evictions`);
}

describe("sequences of decisions", () => {
  it("never overcommit and always settle: no cycle of preemption", () => {
    fc.assert(
      fc.property(worlds, ({ nodes, quantities, jobs }) => {
        settle(new World(nodes, quantities, []), jobs);
      }),
      propertyRuns(2000),
    );
  });

  it("settle when everything is submitted at once", () => {
    fc.assert(
      fc.property(worlds, ({ nodes, quantities, jobs }) => {
        const world = new World(nodes, quantities, jobs);
        const [last, ...rest] = jobs.toReversed();
        expect(rest.length).to.be.at.least(1);
        settle(world, last ? [{ ...last, id: "late", key: "team/late" }] : []);
      }),
      propertyRuns(2000),
    );
  });
});
