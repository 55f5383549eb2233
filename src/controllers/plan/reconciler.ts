/** Stores ResourcePlans in the database, which accepts or refuses them, and reports what is in force; in batches. */
import { readPlanViews, withdrawPlans } from "../../db/tenants/plan-views.ts";
import type { PlanView } from "../../db/tenants/plan-views.ts";
import { replacePlan } from "../../db/tenants/plans.ts";
import type { ResourceType } from "../../domain/resource-types.ts";
import { days } from "../../domain/windows.ts";
import { PlanOverlapError, RotaError } from "../../errors.ts";
import { byAge } from "../../resources/meta.ts";
import { resourcePlans } from "../../resources/types.ts";
import type { ResourcePlan } from "../../resources/types.ts";
import type { ReconcileBatch } from "../../runtime/batch-controller.ts";
import { requeueAfter, done, failed } from "../../runtime/result.ts";
import type { ReconcileResult } from "../../runtime/result.ts";
import { each } from "../../runtime/parallel.ts";
import type { Context } from "../context.ts";
import { poolCapacities } from "../references.ts";
import { notify, writeStatus } from "../report.ts";
import { closeAhead, nextCheckSeconds, stateOf, statusOf } from "./status.ts";
import type { PlanMoment, PlanState, Rejected } from "./status.ts";
import { acceptedText, closesSoonText } from "./messages.ts";

/** Maximum pause, because clocks are corrected and time zone rules change. */
const maxPauseSeconds = 3600;
const writesAtOnce = 16;

const isAboutThePlan = (error: unknown): error is Rejected =>
  error instanceof RotaError &&
  (error.code === "PlanOverlap" || error.code === "InvalidWindow" || error.code === "InvalidValue");

/** Quotas count GPUs of all vendors under GPU, so that a plan for the name would never apply. Throws RotaError InvalidValue. */
function refuseGpuName(type: ResourceType, { gpuResources }: Context["settings"]): void {
  if (!gpuResources.includes(type)) return;
  throw new RotaError("InvalidValue", `spec.resourceType: ${type} counts as GPU; use GPU`);
}

/** Undefined if the database accepted the plan; otherwise the rejection. */
async function store(
  { db, settings }: Context,
  plan: ResourcePlan,
  supersedes: readonly string[],
): Promise<Rejected | undefined> {
  const { spec } = plan;
  try {
    refuseGpuName(spec.resourceType, settings);
    await replacePlan(db, {
      uid: plan.uid,
      name: plan.name,
      owner: spec.owner,
      resourceType: spec.resourceType,
      pool: spec.pool,
      quantity: spec.quantity,
      windows: spec.timeWindows?.map((window) => ({ ...window, days: window.days ?? days })),
      onWindowClose: spec.onWindowClose,
      generation: plan.generation,
      supersedes,
    });
    return undefined;
  } catch (error) {
    if (isAboutThePlan(error)) return error;
    throw error;
  }
}

const wasAccepted = ({ status, generation }: ResourcePlan): boolean =>
  status.acceptedGeneration === generation;

/** By plan uid, the close that an event has announced. */
export type Warned = Map<string, string>;

/** By the name of a deleted plan, since when it has been known to be deleted (monotonic seconds). */
type Gone = Map<string, number>;

class Batch {
  readonly #context: Context;
  readonly #warned: Warned;
  readonly #gone: Gone;
  readonly #results = new Map<string, ReconcileResult>();
  readonly #rejections = new Map<string, Rejected>();
  readonly #accepted = new Set<string>();
  #views = new Map<string, PlanView>();

  constructor(context: Context, warned: Warned, gone: Gone) {
    this.#context = context;
    this.#warned = warned;
    this.#gone = gone;
  }

  async run(names: readonly string[]): Promise<ReadonlyMap<string, ReconcileResult>> {
    const { store: cached } = this.#context.informers.plans;
    const plans = names.flatMap((name) => cached.get(name) ?? []);
    for (const { name } of plans) this.#gone.delete(name);
    const deleted = names.filter((name) => cached.get(name) === undefined);
    let isFewer = await this.#withdraw(deleted.filter((name) => this.#isDue(name)));
    if (plans.length > 0) {
      await this.#read(plans);
      await this.#accept(plans);
      // Of a rejected plan, what another of the same name has left behind.
      const rejected = plans.filter(({ name }) => this.#rejections.has(name));
      isFewer =
        (await this.#withdraw(
          rejected.map(({ name }) => name),
          rejected,
        )) || isFewer;
    }
    if (isFewer || this.#accepted.size > 0) this.#context.tenants.plansChanged(new Set(names));
    await this.#report(plans);
    return this.#results;
  }

  /** Whether a deleted plan is to be withdrawn now; if later, it is looked at again then. */
  #isDue(name: string): boolean {
    const { clock, settings } = this.#context;
    const now = clock.monotonicSeconds();
    const since = this.#gone.get(name) ?? now;
    this.#gone.set(name, since);
    const left = since + settings.planDeletionSeconds - now;
    if (left > 0) this.#results.set(name, requeueAfter(left));
    return left <= 0;
  }

  /** Withdraws the rows of plans with these names, except those of plans that are `present`. */
  async #withdraw(
    names: readonly string[],
    present: readonly ResourcePlan[] = [],
  ): Promise<boolean> {
    if (names.length === 0) return false;
    const { db, scheduler, tenants } = this.#context;
    const uids = present.map(({ uid }) => uid);
    const withdrawn = await withdrawPlans(db, names, uids);
    for (const name of names) this.#gone.delete(name);
    for (const { pool, owner } of withdrawn) {
      scheduler.wake(pool);
      tenants.granted(owner);
    }
    return withdrawn.length > 0;
  }

  async #read(plans: readonly ResourcePlan[]): Promise<void> {
    const uids = plans.map(({ uid }) => uid);
    for (const [uid, view] of await readPlanViews(this.#context.db, uids)) {
      this.#views.set(uid, view);
    }
  }

  /**
   * One that collides with another's old windows is tried again when those are gone. After a loss of the database's
   * content, those that were in force come first.
   */
  async #accept(plans: readonly ResourcePlan[]): Promise<void> {
    let left = plans
      .filter(({ uid, generation }) => this.#views.get(uid)?.generation !== generation)
      .toSorted(
        (one, other) => Number(wasAccepted(other)) - Number(wasAccepted(one)) || byAge(one, other),
      );
    for (let before = Number.POSITIVE_INFINITY; left.length > 0 && left.length < before;) {
      before = left.length;
      for (const plan of left) await this.#tryOne(plan);
      left = left.filter(({ name }) => this.#rejections.has(name));
    }
    const accepted = plans.filter(({ name }) => this.#accepted.has(name));
    if (accepted.length > 0) await this.#read(accepted);
  }

  async #tryOne(plan: ResourcePlan): Promise<void> {
    try {
      const rejected = await this.#store(plan);
      if (rejected) {
        this.#rejections.set(plan.name, rejected);
        return;
      }
      this.#rejections.delete(plan.name);
      this.#accepted.add(plan.name);
      const former = this.#views.get(plan.uid)?.pool;
      for (const pool of new Set([former ?? plan.spec.pool, plan.spec.pool])) {
        this.#context.scheduler.wake(pool);
      }
    } catch (error) {
      this.#results.set(plan.name, failed(error));
    }
  }

  /** A plan that collides with deleted ones takes their place, in one transaction. */
  async #store(plan: ResourcePlan): Promise<Rejected | undefined> {
    const { store: cached } = this.#context.informers.plans;
    const supersedes: string[] = [];
    for (;;) {
      const rejected = await store(this.#context, plan, supersedes);
      if (!(rejected instanceof PlanOverlapError)) return rejected;
      const { plan: other } = rejected;
      const isDeleted = other !== undefined && cached.get(other) === undefined;
      if (!isDeleted || supersedes.includes(other)) return rejected;
      supersedes.push(other);
    }
  }

  async #report(plans: readonly ResourcePlan[]): Promise<void> {
    const { clock, settings } = this.#context;
    const capacities = poolCapacities(this.#context);
    const at = { now: clock.now(), timeZone: settings.timeZone };
    await each(plans, writesAtOnce, async (plan) => {
      if (this.#results.has(plan.name)) return;
      const view = this.#views.get(plan.uid);
      const rejected = this.#rejections.get(plan.name);
      const { pool, resourceType } = view ?? plan.spec;
      const moment = { ...at, poolCapacity: capacities.get(pool)?.(resourceType) };
      const state = stateOf(plan, view, rejected, moment);
      try {
        if (!view && !rejected) throw new Error(`plan ${plan.name} was withdrawn meanwhile`);
        this.#results.set(plan.name, await this.#reportOne(state, moment));
      } catch (error) {
        this.#results.set(plan.name, failed(error));
      }
    });
  }

  async #reportOne(state: PlanState, moment: PlanMoment): Promise<ReconcileResult> {
    const context = this.#context;
    const { plan, quantityNow } = state;
    this.#tell(state, moment);
    await writeStatus(context, resourcePlans, plan, statusOf(state, moment));
    if (quantityNow !== plan.status.quantityNow) context.tenants.granted(plan.spec.owner);
    const seconds = nextCheckSeconds(state, moment, context.settings.windowWarningSeconds);
    return seconds === undefined ? done() : requeueAfter(Math.min(seconds, maxPauseSeconds));
  }

  /** Records events: once per version of the plan, and once before each close that affects running jobs. */
  #tell(state: PlanState, moment: PlanMoment): void {
    const { plan, view, rejected } = state;
    const isNew = plan.status.observedGeneration !== plan.generation;
    if (rejected && isNew) {
      const { code: reason, message: note } = rejected;
      this.#notify(plan, { type: "Warning", reason, action: "Refuse", note });
    }
    if (
      view &&
      this.#accepted.has(plan.name) &&
      plan.status.acceptedGeneration !== view.generation
    ) {
      const note = acceptedText(plan, view);
      this.#notify(plan, { type: "Normal", reason: "Accepted", action: "Accept", note });
    }
    this.#warn(state, moment);
  }

  #warn(state: PlanState, moment: PlanMoment): void {
    const { plan, view } = state;
    const close = closeAhead(state);
    if (!view || !close) return;
    const secondsLeft = close.at.since(moment.now).total("seconds");
    const at = close.at.toString();
    if (secondsLeft > this.#context.settings.windowWarningSeconds) return;
    if (this.#warned.get(plan.uid) === at) return;
    this.#warned.set(plan.uid, at);
    const note = closesSoonText(plan, view, close, moment);
    this.#notify(plan, { type: "Warning", reason: "WindowClosesSoon", action: "Close", note });
  }

  #notify(plan: ResourcePlan, notice: Parameters<typeof notify>[3]): void {
    notify(this.#context, resourcePlans, plan, notice);
  }
}

/** Reconciles plans by name, many at once. Announced closes are remembered for the process's lifetime. */
export function reconcilePlans(context: Context): ReconcileBatch {
  const warned: Warned = new Map();
  const gone: Gone = new Map();
  return async (names) => {
    const { store: cached } = context.informers.plans;
    const results = await new Batch(context, warned, gone).run(names);
    const present = new Set([...cached.values()].map(({ uid }) => uid));
    for (const uid of warned.keys()) if (!present.has(uid)) warned.delete(uid);
    return results;
  };
}
