/** Enforces onWindowClose: Evict within a cycle: notices, and evictions after the grace period. */
import { releaseReservations } from "../../db/jobs/reservations.ts";
import { preempt } from "../../db/jobs/preempt.ts";
import { readEvictWindows } from "../../db/scheduling/closing-windows.ts";
import { overQuotaAt } from "../../db/scheduling/entitlement.ts";
import type { Queryable } from "../../db/client/types.ts";
import type { OverQuotaJob } from "../../domain/scheduling/entitlement.ts";
import { likePattern } from "../../domain/resource-types.ts";
import {
  type EvictionRejections,
  rejectionOf,
} from "../../domain/scheduling/eviction-rejection.ts";
import { judgeCloses } from "../../domain/scheduling/window-close.ts";
import type {
  QuotaCloses,
  ClosesDecision,
  WindowEviction,
  WindowNotice,
} from "../../domain/scheduling/window-close.ts";
import { lastEvictClose, nextEvictClose } from "../../domain/window-schedule.ts";
import type { ClosingWindow } from "../../domain/window-schedule.ts";
import { rejectedForSeconds } from "../eviction-probe.ts";
import type { Candidate, EvictionProbe } from "../eviction-probe.ts";
import type { WindowNotices } from "./notices.ts";

export interface WindowOptions {
  readonly timeZone: string;
  /** Patterns of extended resources that are not metered (resource-types.ts). */
  readonly unmeteredResources: readonly string[];
  /** How long before the close jobs are warned. */
  readonly windowWarningSeconds: number;
  /** How long after the close they may continue to run. */
  readonly windowGraceSeconds: number;
  readonly notices: WindowNotices;
  readonly probe: EvictionProbe;
}

export interface WindowsReport {
  readonly notices: readonly WindowNotice[];
  /** Jobs whose row changed. */
  readonly changedKeys: readonly string[];
  readonly evictions: readonly WindowEviction[];
  /** Jobs whose eviction needs a dry run first. */
  readonly toProbe: readonly Candidate[];
  readonly nextInstantSeconds: number | undefined;
}

const nothing: WindowsReport = {
  notices: [],
  changedKeys: [],
  evictions: [],
  toProbe: [],
  nextInstantSeconds: undefined,
};

/** Evictions per cycle; the rest is left to the next cycle. */
const maxEvictions = 200;
/** Closes that one cycle looks ahead to: bounds its statements. */
const maxLookahead = 4;

interface Scene {
  readonly db: Queryable;
  readonly pool: string;
  readonly now: Temporal.Instant;
  readonly options: WindowOptions;
}

const wallClock = ({ now, options }: Scene): Temporal.ZonedDateTime =>
  now.toZonedDateTimeISO(options.timeZone);

/** The jobs that would be over quota at each of these seconds of the week. */
async function lookAhead(
  { db, pool, options }: Scene,
  seconds: readonly number[],
): Promise<ReadonlyMap<number, readonly OverQuotaJob[]>> {
  const found = new Map<number, readonly OverQuotaJob[]>();
  const unmetered = options.unmeteredResources.map(likePattern);
  for (const second of [...new Set(seconds)].slice(0, maxLookahead)) {
    found.set(second, await overQuotaAt(db, pool, second, unmetered));
  }
  return found;
}

async function quotaCloses(
  scene: Scene,
  windows: ReadonlyMap<string, readonly ClosingWindow[]>,
): Promise<QuotaCloses[]> {
  const { options } = scene;
  const now = wallClock(scene);
  const closes = [...windows].map(([quotaId, own]) => ({
    quotaId,
    next: nextEvictClose(own, now),
    last: lastEvictClose(own, now),
  }));
  const soon = closes
    .flatMap(({ next }) => next ?? [])
    .filter(({ seconds }) => seconds <= options.windowWarningSeconds)
    .toSorted((one, other) => one.seconds - other.seconds);
  const then = await lookAhead(
    scene,
    soon.map(({ atSecond }) => atSecond),
  );
  return closes.map(({ quotaId, next, last }) => {
    const overQuota = next && soon.includes(next) ? then.get(next.atSecond) : undefined;
    return {
      quotaId,
      next: next && overQuota && { close: next, overQuota },
      last,
    };
  });
}

/** Seconds until the next warning is due; undefined without one. */
function secondsToWarning(
  scene: Scene,
  windows: ReadonlyMap<string, readonly ClosingWindow[]>,
): number | undefined {
  const now = wallClock(scene);
  const waits = [...windows.values()]
    .flatMap((own) => nextEvictClose(own, now) ?? [])
    .map(({ seconds }) => seconds - scene.options.windowWarningSeconds)
    .filter((seconds) => seconds > 0);
  return waits.length === 0 ? undefined : Math.min(...waits);
}

/** After the close no budget protects the job for longer than it may delay. */
const candidateOf =
  (rejections: EvictionRejections) =>
  ({ id: jobId, key, attempt }: OverQuotaJob): Candidate => {
    const rejection = rejectionOf({ id: jobId, attempt }, rejections);
    return {
      jobId,
      key,
      attempt,
      ...(rejection?.isOverdue === true &&
        rejection.budget !== undefined && { pastBudget: rejection.budget }),
    };
  };

/**
 * Evicts the jobs whose eviction the API server allows, and returns those that need a dry run; the others wait. If a
 * budget does not allow all evictions, the first jobs in rank stay.
 */
async function evict(
  { db, pool, options: { probe } }: Scene,
  eviction: WindowEviction,
): Promise<Pick<WindowsReport, "changedKeys" | "toProbe">> {
  const rejected = probe.rejections();
  const open = eviction.jobs
    .toReversed()
    .filter((job) => rejectionOf(job, rejected)?.isOverdue ?? true)
    .slice(0, maxEvictions);
  const { allowed, unknown: toProbe } = probe.together(open.map(candidateOf(rejected)));
  if (allowed.length === 0) return { changedKeys: [], toProbe };
  const isWritten = await preempt(db, {
    id: crypto.randomUUID(),
    pool,
    rule: "WindowClosed",
    reason: eviction.reason,
    alternatives: [],
    victims: allowed.map(({ jobId, attempt, pastBudget }) => ({
      id: jobId,
      attempt,
      rule: "WindowClosed",
      pastBudget,
    })),
  });
  if (!isWritten) return { changedKeys: [], toProbe };
  probe.spend(allowed);
  return { changedKeys: allowed.map(({ key }) => key), toProbe };
}

async function release({ db }: Scene, { releases }: ClosesDecision): Promise<string[]> {
  if (releases.length === 0) return [];
  const written = await releaseReservations(
    db,
    releases.map(({ job: { id, attempt }, message }) => ({
      id,
      attempt,
      reason: "WindowClosed",
      message,
    })),
  );
  const ids = new Set(written.map(({ id }) => id));
  return releases.filter(({ job }) => ids.has(job.id)).map(({ job }) => job.key);
}

/** Adds the budget that blocks the eviction. */
const withRejection = (notice: WindowNotice, rejections: EvictionRejections): WindowNotice => {
  const rejection = rejectionOf(notice.job, rejections);
  if (rejection === undefined) return notice;
  const { budget } = rejection;
  const blocked =
    budget === undefined
      ? "the API server refuses the eviction"
      : `the eviction is blocked by PodDisruptionBudget ${budget}`;
  return { ...notice, message: `${notice.message}; ${blocked}` };
};

const earliest = (instants: readonly (number | undefined)[]): number | undefined => {
  const known = instants.filter((seconds) => seconds !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
};

/** Carries out closes of evicting windows. Call it after refreshBorrowing, with its jobs over quota. */
export async function enforceWindows(
  db: Queryable,
  pool: string,
  now: Temporal.Instant,
  overQuota: readonly OverQuotaJob[],
  options: WindowOptions,
): Promise<WindowsReport> {
  const scene: Scene = { db, pool, now, options };
  const windows = await readEvictWindows(db, pool);
  if (windows.size === 0) return nothing;
  const decision = judgeCloses({
    nowSeconds: now.epochMilliseconds / 1000,
    graceSeconds: options.windowGraceSeconds,
    quotas: await quotaCloses(scene, windows),
    overQuota,
    noticedSince: (job) => options.notices.since(pool, job),
  });
  const released = await release(scene, decision);
  const done = [];
  for (const eviction of decision.evictions) done.push(await evict(scene, eviction));
  const rejections = options.probe.rejections();
  const isAnyRejected = decision.evictions.some(({ jobs }) =>
    jobs.some((job) => rejectionOf(job, rejections) !== undefined),
  );
  return {
    notices: decision.notices.map((notice) => withRejection(notice, rejections)),
    changedKeys: [...released, ...done.flatMap(({ changedKeys }) => changedKeys)],
    evictions: decision.evictions,
    toProbe: done.flatMap(({ toProbe }) => toProbe),
    nextInstantSeconds: earliest([
      decision.nextInstantSeconds,
      secondsToWarning(scene, windows),
      isAnyRejected ? rejectedForSeconds : undefined,
    ]),
  };
}
