/** Brings a ResourcePlan's windows into the database, which accepts or refuses them. */
import { ready, withCondition } from "../api/conditions.ts";
import type { PlanReason } from "../api/reasons.ts";
import type { ResourcePlanStatus } from "../api/generated.ts";
import { deletePlan, replacePlan, weekOf } from "../db/plans.ts";
import { changesAfter, days, quantityAt, secondOfWeek } from "../domain/windows.ts";
import { RotaError } from "../errors.ts";
import { resourcePlans } from "../resources/types.ts";
import type { ResourcePlan } from "../resources/types.ts";
import { again, done } from "../runtime/controller.ts";
import type { Reconcile, ReconcileResult } from "../runtime/controller.ts";
import type { Context } from "./context.ts";
import { notify, writeStatus } from "./status.ts";

const longestPauseSeconds = 3600;

/** What of a plan the database refused: a person has to change it. */
type Refused = RotaError & { readonly code: Exclude<PlanReason, "Accepted"> };

/** Undefined when the database took the plan; what it refused otherwise. */
async function refusal(context: Context, plan: ResourcePlan): Promise<Refused | undefined> {
  const { spec } = plan;
  try {
    await replacePlan(context.db, {
      uid: plan.uid,
      name: plan.name,
      owner: spec.owner,
      resourceType: spec.resourceType,
      pool: spec.pool,
      quantity: spec.quantity,
      windows: spec.timeWindows?.map((window) => ({ ...window, days: window.days ?? days })),
      onWindowClose: spec.onWindowClose,
      generation: plan.generation,
    });
    return undefined;
  } catch (error) {
    if (error instanceof RotaError && isAboutThePlan(error)) return error;
    throw error;
  }
}

const isAboutThePlan = (error: RotaError): error is Refused =>
  error.code === "PlanOverlap" ||
  error.code === "PlanWindowInvalid" ||
  error.code === "InvalidValue";

function message(refused: Refused | undefined, acceptedGeneration: number | undefined): string {
  if (refused === undefined) return "in force";
  const before =
    acceptedGeneration === undefined
      ? "the plan is not in force"
      : `generation ${acceptedGeneration} stays in force`;
  return `${refused.message}; ${before}`;
}

async function nextStatus(
  context: Context,
  plan: ResourcePlan,
  refused: Refused | undefined,
): Promise<ResourcePlanStatus> {
  const now = context.clock.now();
  const { timeZone } = context.settings;
  const acceptedGeneration =
    refused === undefined ? plan.generation : plan.status.acceptedGeneration;
  const windows = (await weekOf(context.db, plan.spec.owner)).filter(
    (window) => window.plan === plan.name,
  );
  const quantityNow = quantityAt(windows, secondOfWeek(now, timeZone));
  const [change] = changesAfter(windows, now, timeZone);
  const condition = ready(
    plan.generation,
    refused === undefined,
    refused === undefined ? "Accepted" : refused.code,
    message(refused, acceptedGeneration),
  );
  return {
    ...plan.status,
    observedGeneration: plan.generation,
    ...(acceptedGeneration === undefined ? {} : { acceptedGeneration }),
    quantityNow,
    ...(change === undefined ? {} : { nextChange: change.at.toString() }),
    conditions: withCondition(plan.status.conditions ?? [], condition, now),
  };
}

/** Again when the quantity in effect changes, to the second. */
function untilNextChange(context: Context, status: ResourcePlanStatus): ReconcileResult {
  if (status.nextChange === undefined) return done();
  const seconds = Temporal.Instant.from(status.nextChange)
    .since(context.clock.now())
    .total("seconds");
  return again(Math.min(Math.max(seconds, 1), longestPauseSeconds));
}

export function reconcileResourcePlan(context: Context): Reconcile {
  return async (key) => {
    const plan = context.caches.plans.store.get(key);
    if (plan === undefined) return done();
    const refused = await refusal(context, plan);
    if (refused && plan.status.observedGeneration !== plan.generation) {
      const { code: reason, message: note } = refused;
      notify(context, resourcePlans, plan, { type: "Warning", reason, action: "Refuse", note });
    }
    const status = await nextStatus(context, plan, refused);
    await writeStatus(context, resourcePlans, plan, status);
    context.scheduler.wake(plan.spec.pool);
    if (status.quantityNow !== plan.status.quantityNow) context.tenants.granted(plan.spec.owner);
    return untilNextChange(context, status);
  };
}

/** A deleted plan grants nothing any more. */
export async function forgetResourcePlan(context: Context, plan: ResourcePlan): Promise<void> {
  await deletePlan(context.db, plan.name, plan.uid);
  context.tenants.granted(plan.spec.owner);
  context.scheduler.wake(plan.spec.pool);
}
