/**
 * What becomes of jobs whose plan's window closes with onWindowClose Evict: a notice before the close, a notice
 * during the grace period after it, then the eviction. Whoever was admitted after the close is past the quantity for
 * another reason and is left alone. Nobody is evicted who has not had notice for a whole grace period.
 */
import type { WindowClose } from "../window-schedule.ts";
import { secondText } from "../windows.ts";
import type { OverQuotaJob } from "./entitlement.ts";
import { durationText } from "./messages.ts";

export interface QuotaCloses {
  readonly quotaId: string;
  /** The next close, with who would be past the quantity then; only when it is time to warn. */
  readonly next?:
    | { readonly close: WindowClose; readonly overQuota: readonly OverQuotaJob[] }
    | undefined;
  readonly last?: { readonly close: WindowClose; readonly atSeconds: number } | undefined;
}

export interface ClosesInput {
  readonly nowSeconds: number;
  readonly graceSeconds: number;
  readonly quotas: readonly QuotaCloses[];
  /** Who is past the quantity of quotas now, in the order of their rank. */
  readonly overQuota: readonly OverQuotaJob[];
  /** Since when this attempt of the job has had notice. */
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
  /** Held jobs that would start past a closed plan. */
  readonly releases: readonly { readonly job: OverQuotaJob; readonly message: string }[];
  /** Seconds until a grace period ends; undefined when none is under way. */
  readonly nextInstantSeconds: number | undefined;
}

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
    if (last) this.#closed(quotaId, last.close, last.atSeconds);
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
    const message = `plan ${close.plan} closes ${secondText(close.atSecond)} and evicts: the job leaves ${grace} later unless it has ended`;
    for (const job of overQuota) {
      if (job.status === "reserved" || !job.overQuota.includes(quotaId)) continue;
      if (!this.#notices.has(job.id))
        this.#notices.set(job.id, { job, reason: "WindowClosesSoon", message });
    }
  }

  #closed(quotaId: string, close: WindowClose, closedAtSeconds: number): void {
    const { graceSeconds, overQuota } = this.#input;
    const closed = `plan ${close.plan} closed ${secondText(close.atSecond)}`;
    const leaving: OverQuotaJob[] = [];
    for (const job of overQuota) {
      if (!job.overQuota.includes(quotaId) || this.#notices.get(job.id)?.reason === "WindowClosed")
        continue;
      if (job.status === "reserved") {
        const message = `${closed}; the capacity kept for it was given back`;
        this.#releases.set(job.id, { job, message });
        continue;
      }
      if ((job.admittedAtSeconds ?? 0) >= closedAtSeconds) continue;
      const message = `${closed} and evicts: the job leaves after a grace period of ${durationText(graceSeconds)}`;
      this.#notices.set(job.id, { job, reason: "WindowClosed", message });
      const left = this.#graceLeft(job, closedAtSeconds);
      if (left <= 0) leaving.push(job);
      else this.#nextInstantSeconds = Math.min(this.#nextInstantSeconds, left);
    }
    if (leaving.length === 0) return;
    const reason = `${closed} and evicts what runs past its quantity, after a grace period of ${durationText(graceSeconds)}`;
    this.#evictions.push({ plan: close.plan, reason, jobs: leaving });
  }

  #graceLeft(job: OverQuotaJob, closedAtSeconds: number): number {
    const { nowSeconds, graceSeconds, noticedSince } = this.#input;
    const since = Math.max(closedAtSeconds, noticedSince(job) ?? nowSeconds);
    return since + graceSeconds - nowSeconds;
  }
}
