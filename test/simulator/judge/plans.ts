/** Section 4 of the design read naively: plans as they were written, projects by their parents, jobs one after the other. */
import type { TimeWindow } from "../../../src/domain/windows.ts";

/** The one resource of the simulation that has no column. */
export const fpga = "example.com/fpga";

export interface NaivePlan {
  readonly owner: string;
  /** GPU, CPU, memory or the FPGA's name. */
  readonly resourceType: string;
  readonly pool: string;
  readonly quantity: number;
  readonly windows: readonly TimeWindow[];
  readonly onWindowClose?: "Finish" | "Evict";
}

/** What a clock on the wall shows. */
type Wall = Pick<Temporal.PlainDateTime, "hour" | "minute" | "dayOfWeek">;

export interface NaiveProject {
  readonly id: string;
  readonly parentId: string | null;
  readonly owner: string | null;
}

export interface NaiveJob {
  readonly id: string;
  readonly projectId: string;
  readonly pool: string;
  readonly priority: number;
  readonly admittedAtSeconds: number;
  /** GPUs, millicores, bytes, pods, FPGAs. */
  readonly perPod: readonly number[];
  readonly parallelism: number;
}

const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;
const minutesOf = (text: string): number => {
  const [hours = 0, minutes = 0] = text.split(":").map(Number);
  return hours * 60 + minutes;
};

/** Whether the wall clock is in the window: on its day after its start, or on the day after before its end. */
function isOpen(window: TimeWindow, local: Wall): boolean {
  const minute = local.hour * 60 + local.minute;
  const today = days[local.dayOfWeek - 1] ?? "Mon";
  const yesterday = days[(local.dayOfWeek + 5) % 7] ?? "Mon";
  const start = minutesOf(window.start);
  const end = minutesOf(window.end);
  if (end > start) return window.days.includes(today) && minute >= start && minute < end;
  return (
    (window.days.includes(today) && minute >= start) ||
    (window.days.includes(yesterday) && minute < end)
  );
}

const isInEffect = ({ windows }: NaivePlan, local: Wall): boolean =>
  windows.length === 0 || windows.some((window) => isOpen(window, local));

export const quantityNow = (plan: NaivePlan, local: Wall): number =>
  isInEffect(plan, local) ? plan.quantity : 0;

/** The nearest first. */
function ownersAbove(id: string, projects: ReadonlyMap<string, NaiveProject>): Set<string> {
  const project = projects.get(id);
  if (!project) return new Set();
  const above = project.parentId === null ? [] : ownersAbove(project.parentId, projects);
  return new Set([...(project.owner === null ? [] : [project.owner]), ...above]);
}

export interface NaiveQuota {
  readonly id: string;
  readonly owner: string;
  /** GPUs, millicores, bytes or FPGAs. */
  readonly limit: number;
  readonly demand: number;
}

/** By type: where it stands in a demand, and how much of it a plan for 1 grants. */
const types: Readonly<Record<string, { readonly at: number; readonly unit: number }>> = {
  GPU: { at: 0, unit: 1 },
  CPU: { at: 1, unit: 1000 },
  memory: { at: 2, unit: 2 ** 30 },
  [fpga]: { at: 4, unit: 1 },
};

export const unitOf = (type: string): number => types[type]?.unit ?? Number.NaN;

const demandOf = (
  { perPod, parallelism }: Pick<NaiveJob, "perPod" | "parallelism">,
  type: string,
) => (perPod[types[type]?.at ?? -1] ?? Number.NaN) * parallelism;

export interface QuotasOver {
  /** The nearest owner's first. */
  readonly quotas: readonly NaiveQuota[];
  /** It has no promise: no plan grants anything that it asks for, or something metered. */
  readonly unplanned: boolean;
  /** It asks for nothing metered, so that it may borrow whatever it says. */
  readonly isFree: boolean;
}

/** GPUs and FPGAs are metered, and what any plan of the pool names. */
export function quotasOver(
  job: Pick<NaiveJob, "projectId" | "pool" | "perPod" | "parallelism">,
  projects: ReadonlyMap<string, NaiveProject>,
  plans: readonly NaivePlan[],
  local: Temporal.ZonedDateTime,
): QuotasOver {
  const owners = ownersAbove(job.projectId, projects);
  const inPool = plans.filter(({ pool }) => pool === job.pool);
  const asked = Object.keys(types).filter((type) => demandOf(job, type) > 0);
  const metered = asked.filter(
    (type) =>
      type === "GPU" || type === fpga || inPool.some(({ resourceType }) => resourceType === type),
  );
  const quotas = new Map<string, NaiveQuota & { readonly type: string }>();
  for (const plan of inPool) {
    const { owner, resourceType: type } = plan;
    if (!asked.includes(type) || !owners.has(owner)) continue;
    const id = `${owner}/${type}`;
    const limit = (quotas.get(id)?.limit ?? 0) + quantityNow(plan, local) * unitOf(type);
    quotas.set(id, { id, owner, type, demand: demandOf(job, type), limit });
  }
  const all = [...quotas.values()];
  const nearestFirst = [...owners].flatMap((owner) => all.filter((quota) => quota.owner === owner));
  const isGranted = (type: string): boolean => all.some((quota) => quota.type === type);
  return {
    quotas: nearestFirst,
    unplanned: all.length === 0 || !metered.every(isGranted),
    isFree: metered.length === 0,
  };
}

/** Which jobs borrow: in order of priority and start, whoever does not fit takes nothing. */
export function borrowers(
  jobs: readonly NaiveJob[],
  projects: ReadonlyMap<string, NaiveProject>,
  plans: readonly NaivePlan[],
  local: Temporal.ZonedDateTime,
): Set<string> {
  const ranked = jobs.toSorted(
    (one, other) =>
      other.priority - one.priority ||
      one.admittedAtSeconds - other.admittedAtSeconds ||
      (one.id < other.id ? -1 : 1),
  );
  const taken = new Map<string, number>();
  const borrowing = new Set<string>();
  for (const job of ranked) {
    const { quotas, unplanned } = quotasOver(job, projects, plans, local);
    const fits = quotas.every(({ id, limit, demand }) => (taken.get(id) ?? 0) + demand <= limit);
    if (unplanned || !fits) borrowing.add(job.id);
    else for (const { id, demand } of quotas) taken.set(id, (taken.get(id) ?? 0) + demand);
  }
  return borrowing;
}

const minutesOfWeek = 7 * 24 * 60;

/** Seconds since the last window of these plans closed, if it evicts and none is open now. */
export function secondsShut(
  plans: readonly NaivePlan[],
  local: Temporal.ZonedDateTime,
): number | undefined {
  const minute = local.with({ second: 0, millisecond: 0 });
  for (let minutes = 0; minutes <= minutesOfWeek; minutes += 1) {
    const then = minute.subtract({ minutes });
    const open = plans.find((plan) => isInEffect(plan, then));
    if (open && (minutes === 0 || open.onWindowClose !== "Evict")) return undefined;
    if (open) return (minutes - 1) * 60 + local.second;
  }
  return undefined;
}

/** Whether a plan that is open now and evicts at its close does so before so many seconds have passed. */
export function evictsWithin(
  plan: NaivePlan,
  seconds: number,
  local: Temporal.ZonedDateTime,
): boolean {
  if (plan.onWindowClose !== "Evict" || !isInEffect(plan, local)) return false;
  const minute = local.with({ second: 0, millisecond: 0 });
  for (let minutes = 1; minutes * 60 - local.second < seconds; minutes += 1) {
    if (minutes > minutesOfWeek) return false;
    if (!isInEffect(plan, minute.add({ minutes }))) return true;
  }
  return false;
}
