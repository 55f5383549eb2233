/** The status of a ResourcePlan, and when it changes. Pure. */
import { conditionsOf, planTable } from "../../api/conditions.ts";
import type { ResourcePlanStatus } from "../../api/generated.ts";
import type { PlanView } from "../../db/tenants/plan-views.ts";
import { changesAfter, quantityAt, secondOfWeek } from "../../domain/windows.ts";
import type { QuantityChange, QuantityWindow } from "../../domain/windows.ts";
import type { RotaError } from "../../errors.ts";
import type { ResourcePlan } from "../../resources/types.ts";
import { inForceText, rejectedText } from "./messages.ts";

/** A plan that the database refuses until a user changes it. */
export type Rejected = RotaError & {
  readonly code: Extract<keyof typeof planTable, RotaError["code"]>;
};

export interface PlanMoment {
  readonly now: Temporal.Instant;
  readonly timeZone: string;
  /** What the pool's nodes have of the plan's type, in units of its quantity; undefined if the pool has no nodes. */
  readonly poolCapacity: number | undefined;
}

export interface PlanState {
  readonly plan: ResourcePlan;
  /** Undefined if the plan has no windows in force. */
  readonly view: PlanView | undefined;
  readonly rejected: Rejected | undefined;
  readonly quantityNow: number;
  readonly next: QuantityChange | undefined;
}

const quantityWindows = ({ windows, quantity }: PlanView): QuantityWindow[] =>
  windows.map((window) => ({ ...window, quantity }));

/** Adds the quantity in effect now and the next change within eight days. */
export function stateOf(
  plan: ResourcePlan,
  view: PlanView | undefined,
  rejected: Rejected | undefined,
  { now, timeZone }: PlanMoment,
): PlanState {
  const windows = view ? quantityWindows(view) : [];
  const quantityNow = quantityAt(windows, secondOfWeek(now, timeZone));
  const [next] = changesAfter(windows, now, timeZone);
  return { plan, view, rejected, quantityNow, next };
}

function messageOf({ plan, view, rejected, quantityNow, next }: PlanState, moment: PlanMoment) {
  if (rejected) return rejectedText(rejected.message, view?.generation);
  return view === undefined ? "" : inForceText(plan, view, quantityNow, next, moment);
}

/** What is in force stays so until the plan is gone: finalizers of others may keep it. */
function explanationOf(state: PlanState, moment: PlanMoment) {
  const reason: keyof typeof planTable = state.rejected?.code ?? "Accepted";
  const message = messageOf(state, moment);
  return state.plan.deleting
    ? ({ reason: "Terminating", message: `the plan is being deleted; ${message}` } as const)
    : { reason, message };
}

/** The complete status; a rejected change keeps the accepted generation. */
export function statusOf(state: PlanState, moment: PlanMoment): ResourcePlanStatus {
  const { plan, view, quantityNow, next } = state;
  const explanation = explanationOf(state, moment);
  return {
    observedGeneration: plan.generation,
    ...(view ? { acceptedGeneration: view.generation, used: view.used } : {}),
    quantityNow,
    ...(next ? { nextChange: next.at.toString(), nextQuantity: next.quantity } : {}),
    conditions: conditionsOf(plan, planTable[explanation.reason], explanation, moment.now),
  };
}

/** The next change, if it reduces the quantity below the current usage; otherwise undefined. */
export const closeAhead = ({ view, next, quantityNow }: PlanState): QuantityChange | undefined =>
  view && next && next.quantity < quantityNow && view.used > next.quantity ? next : undefined;

/** Seconds until the status or a warning is due without an event; undefined if never. */
export function nextCheckSeconds(
  state: PlanState,
  { now }: PlanMoment,
  warningSeconds: number,
): number | undefined {
  if (!state.next) return undefined;
  const untilChange = state.next.at.since(now).total("seconds");
  const untilWarning = untilChange - warningSeconds;
  return untilWarning > 0 ? untilWarning : Math.max(untilChange, 0.1);
}
