/** Messages about plans, for conditions and events. Pure. */
import type { Owner } from "../../db/tenants/owners.ts";
import type { PlanView } from "../../db/tenants/plan-views.ts";
import { durationText, listedUpTo, quantityText } from "../../domain/text.ts";
import { comingText, rangeText, secondOfWeek, secondText } from "../../domain/windows.ts";
import type { QuantityChange, WeekRange } from "../../domain/windows.ts";
import type { ResourcePlan } from "../../resources/types.ts";

/** Maximum of windows named in a message; the others are counted. */
const maxWindows = 7;

/** "Group vision" */
export const ownerText = ({ kind, name }: Owner): string => `${kind} ${name}`;

/** "Mon 08:00-18:00, Tue 08:00-18:00 and 3 more" */
export function windowsText(windows: readonly WeekRange[]): string {
  return listedUpTo(maxWindows, windows.map(rangeText));
}

/** Within a day a weekday is unambiguous, even if the clock is set back. */
function momentText(at: Temporal.Instant, now: Temporal.Instant, timeZone: string): string {
  const second = secondOfWeek(at, timeZone);
  const isSoon = at.since(now).total("hours") < 24;
  return isSoon ? secondText(second) : comingText(second, secondOfWeek(now, timeZone));
}

function capacityHints(
  { pool, quantity, resourceType }: PlanView,
  capacity: number | undefined,
): string[] {
  if (capacity === undefined) return [`pool "${pool}" has no nodes`];
  if (quantity <= capacity) return [];
  return [`pool "${pool}" has ${quantityText(resourceType, capacity)}`];
}

/** "in force: 8 GPUs now, 0 from Fri 18:00", with hints if no project or node can use it. */
export function inForceText(
  plan: ResourcePlan,
  view: PlanView,
  quantityNow: number,
  next: QuantityChange | undefined,
  facts: {
    readonly now: Temporal.Instant;
    readonly timeZone: string;
    readonly poolCapacity: number | undefined;
  },
): string {
  const amount = quantityText(view.resourceType, quantityNow);
  const then = next
    ? ` now, ${next.quantity} from ${momentText(next.at, facts.now, facts.timeZone)}`
    : ", the whole week";
  const hints = [
    ...(view.projects === 0 ? [`no project has ${ownerText(plan.spec.owner)} as its owner`] : []),
    ...capacityHints(view, facts.poolCapacity),
  ];
  return [`in force: ${amount}${then}`, ...hints].join("; ");
}

/** The rejection, and which version of the plan stays in force. */
export const rejectedText = (rejection: string, accepted: number | undefined): string =>
  accepted === undefined
    ? `${rejection}; the plan is not in force`
    : `${rejection}; generation ${accepted} stays in force`;

/** "grants Group vision 8 GPUs in pool default: Mon 08:00-18:00" */
export const acceptedText = ({ spec }: ResourcePlan, view: PlanView): string =>
  `grants ${ownerText(spec.owner)} ${quantityText(view.resourceType, view.quantity)} in pool ${view.pool}: ${windowsText(view.windows)}`;

const fates = {
  Finish: "jobs past it run on as borrowers and can be evicted for entitled jobs",
  Evict: "jobs past it are evicted after the grace period",
} as const;

/** "grants 0 from Fri 18:00, in 30 min; 8 GPUs in use; ...", with what happens to jobs over the new quantity. */
export function closesSoonText(
  plan: ResourcePlan,
  view: PlanView,
  next: QuantityChange,
  at: { readonly now: Temporal.Instant; readonly timeZone: string },
): string {
  const inSeconds = next.at.since(at.now).total("seconds");
  return (
    `grants ${next.quantity} from ${momentText(next.at, at.now, at.timeZone)}, in ${durationText(inSeconds)}; ` +
    `${quantityText(view.resourceType, view.used)} in use; ${fates[plan.spec.onWindowClose]}`
  );
}
