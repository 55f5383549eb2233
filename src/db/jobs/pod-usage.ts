/**
 * What a pod counts for under ResourceQuotas, as a jsonb column: JSON has no integers of that size, so amounts are
 * text.
 */
import type { PodUsage, Thousandths } from "../../domain/pod-usage.ts";

type Amounts = Readonly<Record<string, string>>;

/** {}: of a job that was queued without it. */
export interface PodUsageColumn extends Partial<Pick<PodUsage, "scopes" | "priorityClassName">> {
  readonly requests?: Amounts;
  readonly limits?: Amounts;
}

const written = (amounts: Thousandths): Amounts =>
  Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, String(amount)]));

const read = (amounts: Amounts = {}): Thousandths =>
  Object.fromEntries(Object.entries(amounts).map(([name, text]) => [name, BigInt(text)]));

export const podUsageColumn = (usage: PodUsage): PodUsageColumn => ({
  ...usage,
  requests: written(usage.requests),
  limits: written(usage.limits),
});

export const podUsageOf = ({
  requests,
  limits,
  scopes = [],
  priorityClassName = "",
}: PodUsageColumn): PodUsage => ({
  requests: read(requests),
  limits: read(limits),
  scopes,
  priorityClassName,
});
