/**
 * Jobs whose plan's window closes with onWindowClose: Evict. They get a notice before the close, another one during the
 * grace period after it, and are then evicted. Jobs admitted after the close are over quota for another reason and
 * stay. No job is evicted before its notice is a whole grace period old.
 */
import type { WindowClose } from "../window-schedule.ts";
import { secondText } from "../windows.ts";
import type { OverQuotaJob } from "./entitlement.ts";
import { durationText } from "../text.ts";

export interface QuotaCloses {
  readonly quotaId: string;
  /** The next close, with the jobs that would be over quota then; only once the warning period has begun. */
  readonly next?:
    | { readonly close: WindowClose; readonly overQuota: readonly OverQuotaJob[] }
    | undefined;
  readonly last?: WindowClose | undefined;
}

export interface ClosesInput {
  readonly nowSeconds: number;
  readonly graceSeconds: number;
  readonly quotas: readonly QuotaCloses[];
  /** Jobs that are over quota now, in rank order. */
  readonly overQuota: readonly OverQuotaJob[];
  /** When this attempt of the job got its notice. */
  readonly noticedSince: (job: OverQuotaJob) => number | undefined;
}

export interface WindowNotice {
  readonly job: OverQuotaJob;
  readonly reason: "WindowClosesSoon" | "WindowClosed";
  readonly message: string;
}

export interface WindowEviction {
  readonly plan: string;
  /** For the preemption log. */
  readonly reason: string;
  readonly jobs: readonly OverQuotaJob[];
}

export interface ClosesDecision {
  readonly notices: readonly WindowNotice[];
  readonly evictions: readonly WindowEviction[];
  /** Reserved jobs that would start over the quota of a closed plan. */
  readonly releases: readonly { readonly job: OverQuotaJob; readonly message: string }[];
  /** Seconds until the next grace period ends; undefined without one. */
  readonly nextInstantSeconds: number | undefined;
}

/** Notices, evictions and releases that are due now. */
export function judgeCloses(input: ClosesInput): ClosesDecision {
  const judging = new Judging(input);
  for (const quota of input.quotas) judging.judge(quota);
  return judging.decision();
}

class Judging {
  readonly #input: ClosesInput;
  readonly #notices = new Map<string, WindowNotice>();
  readonly #releases = new Map<string, ClosesDecision["releases"][number]>();
  readonly #evictions: WindowEviction[] = [];
  #nextInstantSeconds = Number.POSITIVE_INFINITY;

  constructor(input: ClosesInput) {
    this.#input = input;
  }

  judge({ quotaId, next, last }: QuotaCloses): void {
    if (last) this.#closed(quotaId, last);
    if (next) this.#closesSoon(quotaId, next.close, next.overQuota);
  }

  decision(): ClosesDecision {
    const next = this.#nextInstantSeconds;
    return {
      notices: [...this.#notices.values()],
      evictions: this.#evictions,
      releases: [...this.#releases.values()],
      nextInstantSeconds: Number.isFinite(next) ? next : undefined,
    };
  }

  #closesSoon(quotaId: string, close: WindowClose, overQuota: readonly OverQuotaJob[]): void {
    const grace = durationText(this.#input.graceSeconds);
    const message = `plan ${close.plan} closes ${secondText(close.atSecond)}; the job is evicted ${grace} later unless it has finished`;
    for (const job of overQuota) {
      if (job.status === "reserved" || !job.overQuota.includes(quotaId)) continue;
      if (!this.#notices.has(job.id))
        this.#notices.set(job.id, { job, reason: "WindowClosesSoon", message });
    }
  }

  #closed(quotaId: string, close: WindowClose): void {
    const closedAtSeconds = close.at.epochMilliseconds / 1000;
    const { graceSeconds, overQuota } = this.#input;
    const closed = `plan ${close.plan} closed ${secondText(close.atSecond)}`;
    const leaving: OverQuotaJob[] = [];
    for (const job of overQuota) {
      if (!job.overQuota.includes(quotaId) || this.#notices.get(job.id)?.reason === "WindowClosed")
        continue;
      if (job.status === "reserved") {
        const message = `reservation released: ${closed}`;
        this.#releases.set(job.id, { job, message });
        continue;
      }
      if ((job.admittedAtSeconds ?? 0) >= closedAtSeconds) continue;
      const message = `${closed}; the job is evicted after a grace period of ${durationText(graceSeconds)}`;
      this.#notices.set(job.id, { job, reason: "WindowClosed", message });
      const left = this.#graceLeft(job, closedAtSeconds);
      if (left <= 0) leaving.push(job);
      else this.#nextInstantSeconds = Math.min(this.#nextInstantSeconds, left);
    }
    if (leaving.length === 0) return;
    const reason = `${closed}; jobs over its quota are evicted after a grace period of ${durationText(graceSeconds)}`;
    this.#evictions.push({ plan: close.plan, reason, jobs: leaving });
  }

  #graceLeft(job: OverQuotaJob, closedAtSeconds: number): number {
    const { nowSeconds, graceSeconds, noticedSince } = this.#input;
    const since = Math.max(closedAtSeconds, noticedSince(job) ?? nowSeconds);
    return since + graceSeconds - nowSeconds;
  }
}
