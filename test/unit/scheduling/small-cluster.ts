/**
 * A cluster in memory that does what decisions say. Each decision is judged as the simulator judges a cycle: by the
 * naive reading of docs/design.md, "Quota" to "Preemption", docs/decisions/0005 and 0013, which shares no code with the engine.
 */
import { expect } from "chai";
import { decide } from "../../../src/domain/scheduling/decide.ts";
import type { Decision, Verdict } from "../../../src/domain/scheduling/decision.ts";
import type {
  Quota,
  ReservedJob,
  LiveJob,
  NodeSnapshot,
  Placement,
  QueuedJob,
  Resources,
  Snapshot,
} from "../../../src/domain/scheduling/snapshot.ts";
import type { Effect, Effects } from "../../simulator/judge/effects.ts";
import {
  borrowers,
  quotasOver,
  unitOf,
  type NaivePlan,
  type NaiveProject,
  quantityNow,
} from "../../simulator/judge/plans.ts";
import { type Findings, judgeCycle } from "../../simulator/judge/replay.ts";
import {
  type Amounts,
  inQueueOrder,
  isLive,
  isWaiting,
  occupies,
  type Places,
  type World,
  type WorldJob,
  type WorldNode,
} from "../../simulator/judge/world.ts";
import { amountIn, DIMENSIONS } from "./brute-force.ts";
import { aQuota, aJob, aLiveJob, aNode, named, resources, sum } from "./support.ts";

const pool = "default";
const budget = "team/guard";

/** Monday noon: the windows of the plans below are open or closed then. */
export const noon = Temporal.ZonedDateTime.from("2026-06-01T12:00[UTC]");

export interface Plan extends NaivePlan {
  /** Closed by a window that evicts. */
  readonly isShut: boolean;
  /** Until a window that evicts closes. */
  readonly closesInSeconds: number | undefined;
}

/** What somebody submits. */
export interface Submission {
  readonly projectId: string;
  readonly priority: number;
  readonly perPod: Amounts;
  readonly parallelism: number;
  readonly maxPodsPerNode: number | null;
  readonly mayBorrow: boolean;
  readonly preempts: boolean;
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly toleratesAll: boolean;
  readonly maxRuntimeSeconds: number | null;
}

/** A job, as far as it changes. */
interface Row {
  readonly id: string;
  readonly submitted: Submission;
  readonly queuedAtSeconds: number;
  status: "pending" | "reserved" | "running" | "evicting" | "evicted";
  attempt: number;
  admittedAtSeconds: number;
  allocated: Places;
  kept: Places;
  keptUntilSeconds: number | null;
  avoids: readonly string[];
}

const toResources = ([
  gpus = 0,
  cpuMillis = 0,
  memoryBytes = 0,
  pods = 0,
  fpgas = 0,
  ports = 0,
]: Amounts): Resources => ({
  gpus,
  cpuMillis,
  memoryBytes,
  pods,
  ...named(fpgas, ports),
});

const placementsOf = (places: Places): Placement[] =>
  Object.entries(places).map(([node, pods]) => ({ node, pods }));

const placesOf = (placements: readonly Placement[]): Places =>
  Object.fromEntries(placements.map(({ node, pods }) => [node, pods]));

/** In the order in which a cycle writes: of those inside their plans first admissions, then preemptions; then borrowers. */
const writing = (verdict: Verdict): number => {
  if (verdict.kind === "admit") return verdict.borrowing ? 5 : 2;
  if (verdict.kind === "preempt") return verdict.borrowing ? 4 : 3;
  return verdict.kind === "activate" ? 1 : 0;
};

/** Seconds for which a hold waits for its victims, while nothing else happens. */
const reservationSeconds = 4;

export class SmallCluster {
  readonly #projects: ReadonlyMap<string, NaiveProject>;
  readonly #rows: Row[] = [];
  readonly #protected = new Set<string>();
  /** The quotas over jobs, until the plans change: told once, since the judge's way takes its time. */
  #quotas = new WeakMap<Submission, ReturnType<typeof quotasOver>>();
  #nodes: readonly WorldNode[];
  #plans: readonly Plan[];
  #nowSeconds = 0;
  #submitted = 0;
  evictions = 0;

  constructor(
    nodes: readonly WorldNode[],
    projects: readonly NaiveProject[],
    plans: readonly Plan[],
  ) {
    this.#nodes = nodes;
    this.#projects = new Map(projects.map((project) => [project.id, project]));
    this.#plans = plans;
  }

  get jobs(): number {
    return this.#rows.length;
  }

  submit(submitted: Submission): void {
    this.#rows.push({
      id: `j${this.#submitted}`,
      submitted,
      queuedAtSeconds: this.#submitted,
      status: "pending",
      attempt: 0,
      admittedAtSeconds: 0,
      allocated: {},
      kept: {},
      keptUntilSeconds: null,
      avoids: [],
    });
    this.#submitted += 1;
  }

  /** One that runs has ended. */
  end(dice: number): void {
    const running = this.#rows.filter(({ status }) => status === "running");
    const ended = running[dice % Math.max(1, running.length)];
    if (ended) this.#rows.splice(this.#rows.indexOf(ended), 1);
  }

  /** Evicted pods are gone. */
  leave(): boolean {
    const leaving = this.#rows.filter(({ status }) => status === "evicting");
    for (const row of leaving) Object.assign(row, { status: "evicted", allocated: {} });
    return leaving.length > 0;
  }

  /** A node is cordoned, or no longer. */
  cordon(dice: number): void {
    const at = dice % this.#nodes.length;
    this.#nodes = this.#nodes.map((node, index) =>
      index === at ? { ...node, usable: !node.usable } : node,
    );
  }

  /** A disruption budget forbids a job's eviction, or no longer. */
  guard(dice: number): void {
    const row = this.#rows[dice % Math.max(1, this.#rows.length)];
    if (row && !this.#protected.delete(row.id)) this.#protected.add(row.id);
  }

  replan(plans: readonly Plan[]): void {
    this.#plans = plans;
    this.#quotas = new WeakMap();
  }

  /** Nodes that failed are tried again. */
  forgive(): void {
    for (const row of this.#rows) row.avoids = [];
  }

  /** One cycle, judged. */
  gang(): { readonly isChanged: boolean; readonly verdicts: readonly Verdict[]; found: Findings } {
    this.#nowSeconds += 1;
    const before = this.#world();
    const { verdicts } = this.#decide(before);
    const written = verdicts.toSorted((one, other) => writing(one) - writing(other));
    for (const [index, verdict] of written.entries()) this.#write(verdict, index);
    const after = this.#world();
    const isChanged = verdicts.some(({ kind }) => kind !== "wait");
    const found = judgeCycle({
      before,
      after,
      effects: effectsOf(verdicts),
      recordActivity: heardIn(verdicts),
      isQuiet: !isChanged,
      isProtected: (id) => this.#protected.has(id),
      windowGraceSeconds: 300,
    });
    expectRoom(after);
    expectEntitlement(before, after, verdicts);
    return { isChanged, verdicts, found };
  }

  /** As a cycle does it, with a finder that proposes everybody: asked about a few jobs, and about others the next time. */
  #decide(world: World): Decision {
    const snapshot = this.#snapshot(world);
    const victims = [...world.jobs.values()].filter(isLive).map((job) => this.#live(job));
    const victimsFor: string[] = [];
    let decision = decide(snapshot);
    while (decision.wantsVictims.length > 0) {
      for (const id of decision.wantsVictims) {
        const job = world.jobs.get(id);
        const mayEvict = job?.preempts && (job.mayBorrow || !job.unplanned);
        if (!mayEvict || victimsFor.includes(id))
          throw new Error(`the finder is asked about ${id}, which may evict nobody, or again`);
      }
      victimsFor.push(...decision.wantsVictims);
      decision = decide({ ...snapshot, victims, victimsFor });
    }
    return decision;
  }

  #world(): World {
    const rows = this.#rows.map((row) => this.#described(row));
    const marked = borrowers(rows.filter(occupies), this.#projects, this.#plans, noon);
    const jobs = inQueueOrder(rows).map((job) =>
      marked.has(job.id) ? { ...job, borrowing: true } : job,
    );
    return {
      pool,
      nowSeconds: this.#nowSeconds,
      local: noon,
      nodes: this.#nodes,
      jobs: new Map(jobs.map((job) => [job.id, job])),
      projects: this.#projects,
      plans: this.#plans,
      lastEvent: 0,
    };
  }

  #described({ submitted, ...row }: Row): WorldJob {
    const { perPod, parallelism } = submitted;
    const asked = { pool, projectId: submitted.projectId, perPod, parallelism };
    const above =
      this.#quotas.get(submitted) ?? quotasOver(asked, this.#projects, this.#plans, noon);
    this.#quotas.set(submitted, above);
    return {
      ...row,
      ...submitted,
      ...asked,
      ...above,
      mayBorrow: submitted.mayBorrow || above.isFree,
      gpus: (perPod[0] ?? 0) * parallelism,
      key: `team/${row.id}`,
      startedAtSeconds: row.admittedAtSeconds,
      borrowing: false,
      isDue: true,
    };
  }

  #snapshot(world: World): Snapshot {
    const jobs = [...world.jobs.values()];
    return {
      pool,
      nowSeconds: world.nowSeconds,
      nodes: this.#nodes.map((node) => nodeSnapshot(node, jobs)),
      quotas: this.#plans.map((plan) => quotaOf(plan, jobs)),
      queue: jobs.filter(isWaiting).map(queuedJob),
      reserved: jobs.filter(({ status }) => status === "reserved").map(reservedJob),
    };
  }

  #live(job: WorldJob): LiveJob {
    return aLiveJob(job.id, placementsOf(job.allocated), {
      key: job.key,
      attempt: job.attempt,
      priority: job.priority,
      startedAtSeconds: job.startedAtSeconds,
      borrowing: job.borrowing,
      perPod: toResources(job.perPod),
      quotas: job.quotas.map(({ id }) => id),
      ...(this.#protected.has(job.id) ? { protected: budget } : {}),
    });
  }

  #row(id: string): Row {
    const row = this.#rows.find((one) => one.id === id);
    if (!row) throw new Error(`a verdict about ${id}`);
    return row;
  }

  #write(verdict: Verdict, index: number): void {
    const row = this.#row(verdict.jobId);
    if (verdict.kind === "wait") return;
    expect(verdict.attempt, `attempt of ${row.id}`).to.equal(row.attempt);
    if (verdict.kind === "release")
      Object.assign(row, { ...waitingAgain(row), avoids: verdict.avoidNodes });
    else if (verdict.kind === "preempt") this.#reservation(row, verdict, index);
    else this.#start(row, verdict, index);
  }

  /** As the database does it: admissions of one cycle are a moment apart, in the order of their writing. */
  #momentOf(index: number): number {
    return this.#nowSeconds + index / 1000;
  }

  /** One that was held was admitted then. */
  #start(row: Row, verdict: Extract<Verdict, { kind: "admit" | "activate" }>, index: number): void {
    if (verdict.kind === "admit") row.admittedAtSeconds = this.#momentOf(index);
    row.status = "running";
    row.attempt += 1;
    row.allocated = placesOf(verdict.placements);
    row.kept = {};
    row.keptUntilSeconds = null;
  }

  #reservation(row: Row, verdict: Extract<Verdict, { kind: "preempt" }>, index: number): void {
    for (const { jobId, attempt } of verdict.victims) {
      const victim = this.#row(jobId);
      expect({ status: victim.status, attempt: victim.attempt }).to.deep.equal({
        status: "running",
        attempt,
      });
      victim.status = "evicting";
      this.evictions += 1;
    }
    row.status = "reserved";
    row.admittedAtSeconds = this.#momentOf(index);
    row.kept = placesOf(verdict.placements);
    row.keptUntilSeconds = this.#nowSeconds + reservationSeconds;
  }
}

/** A hold given back: as it was before. */
const waitingAgain = ({ attempt }: Row) => ({
  status: attempt > 0 ? "evicted" : "pending",
  kept: {},
  keptUntilSeconds: null,
});

const podsOn = (node: string, jobs: readonly WorldJob[], of: "allocated" | "kept"): Resources => {
  let total = toResources([]);
  for (const job of jobs) total = sum(total, toResources(job.perPod), job[of][node] ?? 0);
  return total;
};

function nodeSnapshot(node: WorldNode, jobs: readonly WorldJob[]): NodeSnapshot {
  const { name, labels, usable, allocatable, whole, taints } = node;
  const leaving = jobs.filter(({ status }) => status === "evicting");
  return aNode(name, {
    labels,
    taints: taints.map(() => ({ key: "dedicated", effect: "NoSchedule" })),
    schedulable: usable,
    // A node does not say that it has the host port.
    allocatable: sum(toResources(allocatable), resources(0, 0, 0, 0, 0, 1), -1),
    unhealthyGpus: 0,
    otherUsage: toResources(allocatable.map((amount, index) => amount - (whole[index] ?? 0))),
    committed: podsOn(name, jobs, "allocated"),
    leaving: podsOn(name, leaving, "allocated"),
    reserved: podsOn(name, jobs, "kept"),
  });
}

function quotaOf(plan: Plan, jobs: readonly WorldJob[]): Quota {
  const { owner, resourceType, isShut, closesInSeconds } = plan;
  const id = `${owner}/${resourceType}`;
  const usedBy = (borrowing: boolean, counts: (job: WorldJob) => boolean = occupies): number => {
    const counted = jobs.filter((job) => counts(job) && job.borrowing === borrowing);
    const demands = counted.flatMap(({ quotas }) =>
      quotas.filter((one) => one.id === id).map(({ demand }) => demand),
    );
    const total = demands.reduce((all, demand) => all + demand, 0);
    return total / unitOf(resourceType);
  };
  return aQuota(id, quantityNow(plan, noon), usedBy(false), {
    owner: { kind: "Group", name: owner },
    resourceType,
    borrowed: usedBy(true),
    leaving: usedBy(false, ({ status }) => status === "evicting"),
    ...(isShut ? { isShut } : {}),
    ...(closesInSeconds === undefined
      ? {}
      : { evictCloses: [{ inSeconds: closesInSeconds, atText: "then", quantity: 0 }] }),
  });
}

const queuedJob = (job: WorldJob): QueuedJob =>
  aJob(job.id, {
    key: job.key,
    priority: job.priority,
    queuedAtSeconds: job.queuedAtSeconds,
    status: job.status === "evicted" ? "evicted" : "pending",
    attempt: job.attempt,
    parallelism: job.parallelism,
    ...(job.maxPodsPerNode === null ? {} : { maxPodsPerNode: job.maxPodsPerNode }),
    perPod: toResources(job.perPod),
    allowsBorrowing: job.mayBorrow,
    preempts: job.preempts,
    ...(job.maxRuntimeSeconds === null ? {} : { maxRuntimeSeconds: job.maxRuntimeSeconds }),
    quotas: job.quotas.map(({ id }) => id),
    unplanned: job.unplanned,
    nodeSelector: job.nodeSelector,
    tolerations: job.toleratesAll ? [{ operator: "Exists" }] : [],
    avoidNodes: job.avoids,
  });

const reservedJob = (job: WorldJob): ReservedJob => ({
  id: job.id,
  key: job.key,
  priority: job.priority,
  attempt: job.attempt,
  placements: placementsOf(job.kept),
  perPod: toResources(job.perPod),
  allowsBorrowing: job.mayBorrow,
  borrowing: job.borrowing,
  quotas: job.quotas.map(({ id }) => id),
  expiresAtSeconds: job.keptUntilSeconds ?? 0,
});

function effectOf(verdict: Exclude<Verdict, { kind: "wait" }>): Effect {
  if (verdict.kind === "release") return { kind: "release", reason: verdict.reason };
  if (verdict.kind === "activate") return { kind: "activate" };
  const { kind, borrowing } = verdict;
  if (kind === "admit") return { kind, borrowing };
  return { kind, borrowing, victims: verdict.victims.map(({ jobId: id, rule }) => ({ id, rule })) };
}

const effectsOf = (verdicts: readonly Verdict[]): Effects => ({
  closed: [],
  ofJob: new Map(
    verdicts.flatMap((verdict) =>
      verdict.kind === "wait" ? [] : [[verdict.jobId, [effectOf(verdict)]]],
    ),
  ),
});

const heardIn = (verdicts: readonly Verdict[]) => ({
  explained: new Map(
    verdicts.flatMap((verdict) => (verdict.kind === "wait" ? [[verdict.jobId, verdict]] : [])),
  ),
  settled: new Set(verdicts.flatMap(({ kind, jobId }) => (kind === "wait" ? [] : [jobId]))),
});

/** No node has more on it than it has, nor more promised, in any dimension. */
function expectRoom({ nodes, jobs }: World): void {
  for (const { name, whole } of nodes) {
    const all = [...jobs.values()];
    const staying = all.filter(({ status }) => status !== "evicting");
    const used = podsOn(name, all, "allocated");
    const promised = sum(podsOn(name, staying, "allocated"), podsOn(name, staying, "kept"), 1);
    const most = toResources(whole);
    for (const dimension of DIMENSIONS) {
      if (
        Math.max(amountIn(used, dimension), amountIn(promised, dimension)) >
        amountIn(most, dimension)
      )
        throw new Error(`more ${dimension} are used or promised on ${name} than it has`);
    }
  }
}

/** What was inside its plans, or was admitted as such, stays inside until a job before it takes its place. */
function expectEntitlement(before: World, after: World, verdicts: readonly Verdict[]): void {
  const insideIn = ({ jobs }: World): WorldJob[] =>
    [...jobs.values()].filter((job) => occupies(job) && !job.borrowing);
  const admitted = verdicts.flatMap((verdict) =>
    (verdict.kind === "admit" || verdict.kind === "preempt") && !verdict.borrowing
      ? [verdict.jobId]
      : [],
  );
  const known = new Set([...insideIn(before).map(({ id }) => id), ...admitted]);
  const gained = insideIn(after).filter(({ id }) => !known.has(id));
  for (const id of known) {
    const job = after.jobs.get(id);
    if (!job || !occupies(job) || !job.borrowing) continue;
    const taken = gained.some((other) => ranksBefore(other, job));
    expect(taken, `${job.key} lost its entitlement to nobody`).to.equal(true);
  }
}

/** Priority, then admission. */
const ranksBefore = (one: WorldJob, other: WorldJob): boolean =>
  one.priority > other.priority ||
  (one.priority === other.priority && one.admittedAtSeconds < other.admittedAtSeconds);
