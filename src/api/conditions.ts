import type { Reason } from "./reasons.ts";

/** Conditions by the conventions of the Kubernetes API. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

/** One that Rota sets: its reason is in the table of reasons. */
export interface NewCondition extends Omit<Condition, "lastTransitionTime" | "reason"> {
  readonly reason: Reason;
}

/** Sets one condition among the others; its transition time moves only with its status. */
export function withCondition(
  conditions: readonly Condition[],
  next: NewCondition,
  now: Temporal.Instant,
): Condition[] {
  const before = conditions.find((condition) => condition.type === next.type);
  const lastTransitionTime =
    before?.status === next.status ? before.lastTransitionTime : now.round("second").toString();
  const others = conditions.filter((condition) => condition.type !== next.type);
  return [...others, { ...next, lastTransitionTime }];
}

export const ready = (
  generation: number,
  isReady: boolean,
  reason: Reason,
  message: string,
): NewCondition => ({
  type: "Ready",
  status: isReady ? "True" : "False",
  observedGeneration: generation,
  reason,
  message,
});
