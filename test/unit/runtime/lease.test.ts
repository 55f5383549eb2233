import { expect } from "chai";
import fc from "fast-check";
import { aborted, sleepUnlessAborted } from "../../../src/runtime/clock.ts";
import { LeaderElection } from "../../../src/runtime/lease.ts";
import type { LeaseLock, LeaseRecord, VersionedLease } from "../../../src/runtime/lease.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createManualClock } from "../../support/manual-clock.ts";
import type { ManualClock } from "../../support/manual-clock.ts";
import { propertyRuns } from "../../support/property.ts";

/** What the network does to one candidate's calls. */
interface Link {
  /** No call arrives. */
  cut: boolean;
  /** Calls arrive and answers do not. */
  mute: boolean;
}

class SharedLease {
  #lease: VersionedLease | undefined;
  #version = 100n;

  get holder(): string | undefined {
    return this.#lease?.record.holder;
  }

  lockFor(link: Link): LeaseLock {
    return {
      read: async (signal) => this.#through(link, signal, () => this.#lease),
      write: async (record, over, signal) =>
        this.#through(link, signal, () => this.#write(record, over)),
    };
  }

  #write(record: LeaseRecord, over: VersionedLease | undefined): VersionedLease | undefined {
    if (over?.version !== this.#lease?.version) return undefined;
    this.#version += 1n;
    this.#lease = { record, version: this.#version };
    return this.#lease;
  }

  async #through<T>(link: Link, signal: AbortSignal, action: () => T): Promise<T> {
    if (link.cut) throw new Error("no route");
    const result = action();
    if (!link.mute) return result;
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }
}

class Candidate {
  readonly link: Link = { cut: false, mute: false };
  readonly election: LeaderElection;
  readonly fences: bigint[] = [];
  readonly #stop = new AbortController();
  readonly #run: Promise<void>;
  working = false;
  /** How long the work goes on after it was told to stop. */
  drainSeconds = 0;
  /** Its work fails at once. */
  isBroken = false;

  constructor(name: string, clock: ManualClock, lease: SharedLease) {
    this.election = new LeaderElection({
      lock: lease.lockFor(this.link),
      identity: name,
      clock,
      logger: silentLogger,
      lead: async ({ fence, signal, stopping }) => {
        this.fences.push(fence);
        if (this.isBroken) throw new Error("the work cannot begin");
        this.working = true;
        await aborted(stopping);
        if (this.drainSeconds > 0) await sleepUnlessAborted(clock, this.drainSeconds, signal);
        this.working = false;
      },
    });
    this.#run = this.election.run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("test over"));
    await this.#run;
  }
}

function setUp(count: number) {
  const clock = createManualClock();
  const lease = new SharedLease();
  const candidates = Array.from(
    { length: count },
    (_, at) => new Candidate(`c${at}`, clock, lease),
  );
  const leaders = () => candidates.filter(({ working }) => working);
  const stopAll = async (): Promise<void> => {
    for (const candidate of candidates) {
      Object.assign(candidate.link, { cut: false, mute: false });
      candidate.drainSeconds = 0;
    }
    const stopped = Promise.all(candidates.map((candidate) => candidate.stop()));
    // A renewal that got no answer is waited for until its time-out.
    await clock.advance(15);
    await stopped;
  };
  return { candidates, clock, leaders, lease, stopAll };
}

describe("the leader's lease", () => {
  it("lets exactly one of three candidates lead", async () => {
    const { clock, leaders, lease, stopAll } = setUp(3);
    await clock.advance(5);
    const [first] = leaders();
    expect(leaders()).to.have.length(1);
    await clock.advance(300);
    expect(leaders()).to.deep.equal([first]);
    expect(first?.fences).to.have.length(1);
    await stopAll();
    expect(lease.holder).to.equal("");
  });

  for (const how of ["cut", "mute"] as const) {
    it(`replaces a leader in time when its link is ${how}`, async () => {
      const { clock, leaders, stopAll } = setUp(3);
      await clock.advance(5);
      const [first] = leaders();
      if (!first) throw new Error("nobody leads");
      first.link[how] = true;
      await clock.advance(10);
      expect(leaders()).to.deep.equal([]);
      // A mute leader's renewal after 6 s still arrives: the lease is free 15 s after it.
      await clock.advance(6.1);
      expect(leaders()).to.have.length(1);
      const [second] = leaders();
      expect(second).not.to.equal(first);
      expect(second?.fences.at(-1) ?? 0n).to.satisfy(
        (fence: bigint) => fence > (first.fences[0] ?? 0n),
      );
      await stopAll();
    });
  }

  it("pauses longer and longer while the work fails at once", async () => {
    const { candidates, clock, leaders, stopAll } = setUp(1);
    const [only] = candidates;
    if (!only) throw new Error("there is no candidate");
    only.isBroken = true;
    await clock.advance(120);
    // 2, 4, 8 and then 10 s, of which half is random.
    expect(only.fences.length).to.be.within(10, 26);
    only.isBroken = false;
    await clock.advance(10);
    expect(leaders()).to.deep.equal([only]);
    await stopAll();
  });

  it("ends its term by its own clock", async () => {
    const { clock, leaders, stopAll } = setUp(1);
    await clock.advance(3);
    const leadership = leaders()[0]?.election.leadership;
    expect(leadership?.isValid()).to.equal(true);
    const before = clock.monotonicSeconds();
    const frozen = (): number => before;
    const thawedAtSeconds = clock.monotonicSeconds() + 11;
    clock.monotonicSeconds = () => thawedAtSeconds;
    expect(leadership?.isValid()).to.equal(false);
    expect(leadership?.signal.aborted).to.equal(false);
    clock.monotonicSeconds = frozen;
    await stopAll();
  });

  it("passes on at once when it is told to stop", async () => {
    const { candidates, clock, leaders, stopAll } = setUp(2);
    await clock.advance(5);
    const [first] = leaders();
    await first?.stop();
    await clock.advance(2.1);
    expect(leaders()).to.deep.equal(candidates.filter((candidate) => candidate !== first));
    await stopAll();
  });

  it("is released even when the last renewal's answer was lost", async () => {
    const { clock, leaders, lease, stopAll } = setUp(1);
    await clock.advance(5);
    const [first] = leaders();
    if (!first) throw new Error("nobody leads");
    first.link.mute = true;
    await clock.advance(2.1);
    const stopping = first.stop();
    first.link.mute = false;
    await clock.advance(6);
    await stopping;
    expect(lease.holder).to.equal("");
    await stopAll();
  });

  it("is kept while work drains, and given up afterwards", async () => {
    const { clock, leaders, lease, stopAll } = setUp(2);
    await clock.advance(5);
    const [first] = leaders();
    if (!first) throw new Error("nobody leads");
    first.drainSeconds = 40;
    const holder = lease.holder;
    const stopping = first.stop();
    await clock.advance(39);
    expect(leaders()).to.deep.equal([first]);
    expect(lease.holder).to.equal(holder);
    await clock.advance(1.5);
    await stopping;
    await clock.advance(2.1);
    expect(leaders()).to.have.length(1);
    expect(leaders()).not.to.deep.equal([first]);
    await stopAll();
  });

  it("ends a drain at once when it cannot be renewed", async () => {
    const { clock, leaders, stopAll } = setUp(2);
    await clock.advance(5);
    const [first] = leaders();
    if (!first) throw new Error("nobody leads");
    first.drainSeconds = 40;
    const stopping = first.stop();
    first.link.cut = true;
    await clock.advance(10);
    await stopping;
    expect(leaders()).to.deep.equal([]);
    await stopAll();
  });

  it("tries again to release when the first call fails", async () => {
    const { clock, leaders, lease, stopAll } = setUp(1);
    await clock.advance(5);
    const [first] = leaders();
    if (!first) throw new Error("nobody leads");
    first.link.cut = true;
    const stopping = first.stop();
    await clock.settle();
    first.link.cut = false;
    await clock.advance(1);
    await stopping;
    expect(lease.holder).to.equal("");
    await stopAll();
  });

  it("refuses times that leave no gap between two leaders", () => {
    const options = {
      lock: new SharedLease().lockFor({ cut: false, mute: false }),
      identity: "x",
      clock: createManualClock(),
      logger: silentLogger,
      lead: async () => {},
    };
    const times = { leaseSeconds: 12, renewWithinSeconds: 10, retrySeconds: 2 };
    expect(() => new LeaderElection({ ...options, ...times })).to.throw(RangeError);
  });

  it("never has two leaders at work (random)", async () => {
    const step = fc.record({
      candidate: fc.integer({ min: 0, max: 2 }),
      link: fc.constantFrom("cut", "mute"),
      broken: fc.boolean(),
      seconds: fc.double({ min: 0.1, max: 12, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 15 }), async (steps) => {
        const { candidates, clock, leaders, stopAll } = setUp(3);
        for (const { broken, candidate, link, seconds } of steps) {
          const chosen = candidates[candidate];
          if (chosen) chosen.link[link as keyof Link] = broken;
          for (let passed = 0; passed < seconds; passed += 0.5) {
            await clock.advance(Math.min(0.5, seconds - passed));
            expect(leaders().length).to.be.at.most(1);
          }
        }
        const fences = candidates.flatMap((candidate) => candidate.fences);
        expect(new Set(fences).size).to.equal(fences.length);
        await stopAll();
      }),
      propertyRuns(15),
    );
  });
});
