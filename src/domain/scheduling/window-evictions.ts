/**
 * What becomes of jobs whose plan's window closes with onWindowClose Evict: a notice before the close, a notice
 * during the grace period after it, then the eviction. Whoever was admitted after the close is past the quantity for
 * another reason and is left alone. Nobody is evicted who has not had notice for a whole grace period.
 */
import type { WindowClose } from "../window-closes.ts";
import { secondText } from "../windows.ts";
import type { PastJob } from "./entitlement.ts";
import { durationText } from "./explain.ts";

export interface CeilingCloses {
  readonly ceilingId: string;
  /** The next close, with who would be past the quantity then; only when it is time to warn. */
  readonly next?: { readonly close: WindowClose; readonly past: readonly PastJob[] } | undefined;
  readonly last?: { readonly close: WindowClose; readonly atSeconds: number } | undefined;
}

export interface ClosesInput {
  readonly nowSeconds: number;
  readonly graceSeconds: number;
  readonly ceilings: readonly CeilingCloses[];
  /** Who is past the quantity of ceilings now, in the order of their rank. */
  readonly past: readonly PastJob[];
  /** Since when this attempt of the job has had notice. */
  readonly noticedSince: (job: PastJob) => number | undefined;
}

export interface WindowNotice {
  readonly job: PastJob;
  readonly reason: "WindowClosesSoon" | "WindowClosed";
  readonly message: string;
}

export interface WindowEviction {
  readonly plan: string;
  /** For the ledger. */
  readonly reason: string;
  readonly jobs: readonly PastJob[];
}

export interface ClosesDecision {
  readonly notices: readonly WindowNotice[];
  readonly evictions: readonly WindowEviction[];
  /** Held jobs that would start past a closed plan. */
  readonly releases: readonly { readonly job: PastJob; readonly message: string }[];
  /** Seconds until a grace period ends; undefined when none is under way. */
  readonly nextInstantSeconds: number | undefined;
}

export function judgeCloses(input: ClosesInput): ClosesDecision {
  const judging = new Judging(input);
  for (const ceiling of input.ceilings) judging.judge(ceiling);
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

  judge({ ceilingId, next, last }: CeilingCloses): void {
    if (last) this.#closed(ceilingId, last.close, last.atSeconds);
    if (next) this.#closesSoon(ceilingId, next.close, next.past);
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

  #closesSoon(ceilingId: string, close: WindowClose, past: readonly PastJob[]): void {
    const grace = durationText(this.#input.graceSeconds);
    const message = `plan ${close.plan} closes ${secondText(close.atSecond)} and evicts: the job leaves ${grace} later unless it has ended`;
    for (const job of past) {
      if (job.status === "held" || !job.past.includes(ceilingId)) continue;
      if (!this.#notices.has(job.id))
        this.#notices.set(job.id, { job, reason: "WindowClosesSoon", message });
    }
  }

  #closed(ceilingId: string, close: WindowClose, closedAtSeconds: number): void {
    const { graceSeconds, past } = this.#input;
    const closed = `plan ${close.plan} closed ${secondText(close.atSecond)}`;
    const leaving: PastJob[] = [];
    for (const job of past) {
      if (!job.past.includes(ceilingId) || this.#notices.get(job.id)?.reason === "WindowClosed")
        continue;
      if (job.status === "held") {
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

  #graceLeft(job: PastJob, closedAtSeconds: number): number {
    const { nowSeconds, graceSeconds, noticedSince } = this.#input;
    const since = Math.max(closedAtSeconds, noticedSince(job) ?? nowSeconds);
    return since + graceSeconds - nowSeconds;
  }
}
