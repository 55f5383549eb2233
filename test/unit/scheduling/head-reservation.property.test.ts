/**
 * Protection of the head, with an endless stream of smaller jobs behind it. What holds, in GPUs, on nodes that do not
 * change, for a head that nobody overtakes by priority:
 *
 * - What is missing on the nodes kept for it never grows: nothing new starts on what is kept, and others are kept instead
 *   only when they are nearer (or as near, and before by name). Every end on a kept node makes it less. So the head starts
 *   within (GPUs it asks for) x (nodes) x (the longest run).
 * - Where it needs every node that accepts it there is nothing to choose: it starts when those that ran at its arrival
 *   have ended, at the latest. Not so with a choice: a nearer node may be one on which later jobs run on.
 * - While smaller jobs wait, no more GPUs are idle than the head asks for.
 */
import { expect } from "chai";
import * as fc from "fast-check";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { Placement, QueuedJob } from "../../../src/domain/scheduling/snapshot.ts";
import { propertyRuns } from "../../support/property.ts";
import { aJob, aNode, aSnapshot, resources } from "./support.ts";

interface Small {
  readonly gpus: number;
  readonly seconds: number;
}

interface Story {
  readonly nodes: readonly number[];
  readonly head: { readonly gpus: number; readonly parallelism: number };
  readonly smalls: readonly Small[];
}

interface Running {
  readonly gpus: number;
  readonly endsAt: number;
  readonly placements: readonly Placement[];
}

const waitingSmalls = 5;
const maxSteps = 2000;

class Cluster {
  readonly #story: Story;
  readonly #running: Running[] = [];
  readonly #waiting: (Small & { readonly job: QueuedJob })[] = [];
  #submitted = 0;
  now = 0;

  constructor(story: Story) {
    this.#story = story;
  }

  get longestLeft(): number {
    return Math.max(0, ...this.#running.map(({ endsAt }) => endsAt - this.now));
  }

  get idle(): number {
    return this.#story.nodes.reduce((sum, gpus, index) => sum + gpus - this.#used(`n${index}`), 0);
  }

  #used(node: string): number {
    return this.#running
      .flatMap(({ gpus, placements }) => placements.map((one) => ({ gpus, ...one })))
      .filter((one) => one.node === node)
      .reduce((sum, { gpus, pods }) => sum + gpus * pods, 0);
  }

  /** Always some more, and one of them asks for a single GPU. */
  #submit(): void {
    const { smalls } = this.#story;
    while (this.#waiting.length < waitingSmalls || !this.#waiting.some(({ gpus }) => gpus === 1)) {
      const next = smalls[this.#submitted % smalls.length];
      if (!next) throw new Error("no small jobs");
      const gpus = this.#waiting.length < waitingSmalls ? next.gpus : 1;
      this.#submitted += 1;
      const id = `s${this.#submitted}`;
      const perPod = resources(gpus, 0, 1);
      const job = aJob(id, { perPod, preempts: false, queuedAtSeconds: this.#submitted });
      this.#waiting.push({ gpus, seconds: next.seconds, job });
    }
  }

  /** One decision; true when the head starts. */
  decide(head?: QueuedJob): boolean {
    this.#submit();
    const nodes = this.#story.nodes.map((gpus, index) =>
      aNode(`n${index}`, {
        allocatable: resources(gpus, 0, 100),
        committed: resources(this.#used(`n${index}`)),
      }),
    );
    const smalls = this.#waiting.map(({ job }) => job);
    const queue = head === undefined ? smalls : [head, ...smalls];
    const { verdicts } = decide(aSnapshot({ nodes, queue }));
    for (const verdict of verdicts) {
      if (verdict.kind !== "admit") continue;
      if (verdict.jobId === head?.id) return true;
      const index = this.#waiting.findIndex(({ job }) => job.id === verdict.jobId);
      for (const { gpus, seconds } of this.#waiting.splice(index, 1))
        this.#running.push({
          gpus,
          endsAt: this.now + seconds,
          placements: verdict.placements,
        });
    }
    return false;
  }

  get aSmallestWaits(): boolean {
    return this.#waiting.some(({ gpus }) => gpus === 1);
  }

  /** Until the next job ends. */
  wait(): void {
    this.now += Math.min(...this.#running.map(({ endsAt }) => endsAt - this.now));
    const left = this.#running.filter(({ endsAt }) => endsAt > this.now);
    this.#running.splice(0, this.#running.length, ...left);
  }
}

/** The cluster is full of small jobs before the head comes. Returns how long it waited, and how long those had left. */
function tell(story: Story): { readonly waited: number; readonly longestLeft: number } {
  const { gpus, parallelism } = story.head;
  const cluster = new Cluster(story);
  for (let turn = 0; turn < 3; turn += 1) {
    cluster.decide();
    cluster.wait();
    cluster.decide();
  }
  const head = aJob("head", { perPod: resources(gpus, 0, 1), parallelism, preempts: false });
  const arrival = cluster.now;
  const { longestLeft } = cluster;
  for (let gang = 0; gang < maxSteps; gang += 1) {
    if (cluster.decide(head)) return { waited: cluster.now - arrival, longestLeft };
    if (cluster.aSmallestWaits) expect(cluster.idle, "idle GPUs").to.be.at.most(gpus * parallelism);
    cluster.wait();
  }
  throw new Error(`the head starves: ${maxSteps} jobs were started before it`);
}

const smalls = (most: number) =>
  fc.array(
    fc.record({
      gpus: fc.integer({ min: 1, max: most }),
      seconds: fc.integer({ min: 1, max: 20 }),
    }),
    { minLength: 1, maxLength: 30, size: "max" },
  );

const longest = ({ smalls: all }: Story): number => Math.max(...all.map(({ seconds }) => seconds));

describe("the head reservation", () => {
  it("keeps smaller jobs from starving the head", () => {
    const stories = fc
      .array(fc.integer({ min: 4, max: 8 }), { minLength: 1, maxLength: 4 })
      .chain((nodes) =>
        fc
          .record({
            gpus: fc.integer({ min: 2, max: Math.min(...nodes) }),
            parallelism: fc.integer({ min: 1, max: nodes.length }),
          })
          .chain((head) =>
            fc.record({
              nodes: fc.constant(nodes),
              head: fc.constant(head),
              smalls: smalls(head.gpus),
            }),
          ),
      );
    fc.assert(
      fc.property(stories, (story) => {
        const { nodes, head } = story;
        const most = head.gpus * head.parallelism * nodes.length * longest(story);
        expect(tell(story).waited).to.be.at.most(most);
      }),
      propertyRuns(500),
    );
  });

  it("starts the head when earlier jobs have ended", () => {
    const stories = fc
      .record({
        size: fc.integer({ min: 4, max: 8 }),
        count: fc.integer({ min: 1, max: 3 }),
        more: fc.nat({ max: 3 }),
      })
      .chain(({ size, count, more }) => {
        const gpus = Math.min(size, Math.floor(size / 2) + 1 + more);
        return fc.record({
          nodes: fc.constant(Array.from({ length: count }, () => size)),
          head: fc.constant({ gpus, parallelism: count }),
          smalls: smalls(gpus),
        });
      });
    fc.assert(
      fc.property(stories, (story) => {
        const { waited, longestLeft } = tell(story);
        expect(waited).to.be.at.most(longestLeft);
      }),
      propertyRuns(500),
    );
  });
});
