/** People with jobs: they submit, cancel, hold back and change their minds about priorities. */
import { cancelJob } from "../../src/db/jobs/attempts.ts";
import { countsForNothing } from "../support/fixtures.ts";
import { insertJob, setPriority, setSuspended } from "../../src/db/jobs/queue.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import { retry } from "./kubelets.ts";
import { fpga } from "./judge/plans.ts";
import { port } from "./judge/world.ts";
import { gibibyte } from "./topology.ts";
import { type JobRow, jobsIn, type Stage } from "./context.ts";

const daySeconds = 86_400;
const teams = [
  "vision",
  "vision-video",
  "speech",
  "speech-strict",
  "product",
  "guests",
  "research",
] as const;
const hurriedTeams = ["guests", "research", "research", "vision", "speech", "product"] as const;

/** What a pod asks for that has no column. */
const named = (hasFpga: boolean, hasPort: boolean) =>
  hasFpga || hasPort
    ? { byName: { ...(hasFpga && { [fpga]: 1 }), ...(hasPort && { [port]: 1 }) } }
    : {};

export class Users {
  readonly #stage: Stage;
  readonly #projects: ReadonlyMap<string, string>;
  readonly #submitted = new Set<string>();
  readonly #protected = new Set<string>();

  constructor(stage: Stage, projects: ReadonlyMap<string, string>) {
    this.#stage = stage;
    this.#projects = projects;
  }

  get submitted(): number {
    return this.#submitted.size;
  }

  /** A disruption budget forbids the job's eviction, always. */
  isProtected(jobId: string): boolean {
    return this.#protected.has(jobId);
  }

  begin(jobsPerDay: number): void {
    const { timeline } = this.#stage;
    this.#planArrival(daySeconds / jobsPerDay);
    timeline.often("a job in a hurry arrives", 1800, () => this.#submit("hurry"));
    timeline.often("a user changes a job", 2400, () => this.change());
  }

  #planArrival(meanSeconds: number): void {
    const { random, timeline } = this.#stage;
    timeline.plan(random.seconds(meanSeconds), "a job arrives", async () => {
      // Now and then a team submits many at once.
      const many = random.chance(0.1) ? random.whole(3, 8) : 1;
      for (let count = 0; count < many; count += 1) await this.#submit();
      this.#planArrival(meanSeconds);
    });
  }

  /** A job in a hurry is short, and comes before nearly all others: it evicts them, and not for long. */
  async #submit(kind: "usual" | "hurry" = "usual"): Promise<void> {
    const { random, db, timeline } = this.#stage;
    const isHurried = kind === "hurry";
    const id = random.uuid();
    const project = random.of(isHurried ? hurriedTeams : teams);
    const isGang = random.chance(isHurried ? 0.35 : 0.3);
    const priority = isHurried ? random.of([50, 200, 1000]) : random.of([0, 0, 0, 10, 10, 20, 100]);
    // Some fit nowhere, and wait for ever behind all others.
    const single = priority === 0 ? ([0, 1, 2, 4, 8, 9] as const) : ([0, 1, 1, 2, 4, 8] as const);
    const gpus = random.of(isHurried ? [1, 2, 4, 8] : isGang ? [0, 1, 1, 2, 2] : single);
    await insertJob(db, {
      id,
      projectId: this.#projects.get(project) ?? "",
      namespace: project,
      name: `job-${this.#submitted.size}`,
      pool: project === "product" || random.chance(0.15) ? "serve" : "train",
      priority,
      priorityClass: `p${priority}`,
      preempts: priority > 0,
      parallelism: isGang ? random.whole(2, isHurried ? 3 : 4) : 1,
      perPod: {
        gpus,
        cpuMillis: random.of([500, 2000, 8000, 24_000]),
        memoryBytes: random.of([1, 4, 64]) * gibibyte,
        ...named(random.chance(0.15), random.chance(0.15)),
      },
      podUsage: countsForNothing,
      ...(random.chance(0.15) && { maxPodsPerNode: random.whole(1, 2) }),
      allowsBorrowing: random.chance(0.8),
      ...(random.chance(isHurried ? 0.9 : 0.3)
        ? { maxRuntimeSeconds: random.whole(600, isHurried ? 5400 : 14_400) }
        : {}),
      backoffLimit: random.whole(0, 2),
      suspended: !isHurried && random.chance(0.05),
      queuedAt: timeline.now(),
      nodeSelector: random.chance(0.15) ? { zone: `zone-${random.whole(0, 1)}` } : {},
      tolerations: random.chance(0.2) ? [{ operator: "Exists" }] : [],
      storages: [],
    });
    this.#submitted.add(id);
    if (random.chance(0.15)) this.#protected.add(id);
  }

  async #someJob(db: Queryable, statuses: readonly string[]): Promise<JobRow | undefined> {
    return this.#stage.random.some(await jobsIn(db, statuses));
  }

  /** `db` is another connection when the change comes while a cycle is under way. */
  async change(db: Queryable = this.#stage.db): Promise<void> {
    const { random } = this.#stage;
    const dice = random.whole(0, 3);
    if (dice === 0) {
      const job = await this.#someJob(db, [
        "pending",
        "evicted",
        "reserved",
        "starting",
        "running",
      ]);
      if (job) await cancelJob(db, { id: job.id, reason: "Deleted", message: "by its user" });
      return;
    }
    if (dice === 1) {
      const job = await this.#someJob(db, ["pending", "evicted", "reserved"]);
      const priority = random.of([0, 10, 20, 100]);
      if (!job) return;
      const change = { priority, priorityClass: `p${priority}`, preempts: priority > 0 };
      await setPriority(db, { id: job.id, ...change });
      return;
    }
    const job = await this.#someJob(db, ["pending", "evicted", "starting", "running"]);
    if (!job) return;
    const suspended = !job.suspended;
    await setSuspended(db, { id: job.id, suspended });
    if (suspended && (job.status === "starting" || job.status === "running"))
      await retry(db, job, "Suspended", false);
  }
}
