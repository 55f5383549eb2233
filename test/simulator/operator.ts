/** The engine under test: its own cycle, with what an operator remembers between cycles and loses when it dies. */
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import { silentLogger } from "../../src/runtime/logger.ts";
import { type CycleDependencies, runCycle } from "../../src/scheduler/cycle.ts";
import { EvictionProbe, type ProbeGang } from "../../src/scheduler/eviction-probe.ts";
import { noNamespaceQuotas } from "../support/namespace-quotas.ts";
import { mayAllGo } from "../support/gang-answers.ts";
import type { Round } from "../../src/scheduler/wait-reasons/publisher.ts";
import type { CycleReport } from "../../src/scheduler/pool-loop.ts";
import { PositionPace } from "../../src/scheduler/wait-reasons/position-pace.ts";
import { SearchTurns } from "../../src/scheduler/search-turns.ts";
import { WindowNotices } from "../../src/scheduler/windows/notices.ts";
import type { Heard } from "./judge/replay.ts";
import type { Timeline } from "./timeline.ts";

export const windowGraceSeconds = 300;
const maxCycleMilliseconds = 60_000;

export interface OperatorOptions {
  readonly db: DatabasePool;
  readonly timeline: Timeline;
  readonly timeZone: string;
  /** A disruption budget forbids the job's eviction. */
  readonly isProtected: (jobId: string) => boolean;
  /** Named points of a cycle; may throw. */
  readonly checkpoint: (name: string) => void;
}

export interface Ran extends CycleReport {
  readonly recordActivity: Heard;
  readonly isChanged: boolean;
}

export class Operator {
  readonly #deps: CycleDependencies;
  #round: Round | undefined;
  #isChanged = false;

  constructor({ db, timeline, timeZone, isProtected, checkpoint }: OperatorOptions) {
    const clock: Clock = {
      now: () => timeline.now(),
      monotonicSeconds: () => timeline.nowSeconds,
      sleep: () => Promise.reject(new Error("nothing sleeps in virtual time")),
    };
    const ask: ProbeGang = (jobId) =>
      Promise.resolve(
        isProtected(jobId) ? { rejectedBy: "budget of a simulated team", uses: [] } : mayAllGo,
      );
    this.#deps = {
      db,
      clock,
      logger: silentLogger,
      timeZone,
      unmeteredResources: ["rdma/*"],
      namespaceQuotas: noNamespaceQuotas,
      claimLimit: 10_000,
      reservationSeconds: 300,
      avoidNodeSeconds: 600,
      windowWarningSeconds: 900,
      windowGraceSeconds,
      notices: new WindowNotices(),
      probe: new EvictionProbe(ask, clock),
      explain: (_pool, round) => {
        this.#round = round;
      },
      positions: new PositionPace(clock),
      turns: new SearchTurns(),
      onChanged: (keys) => {
        this.#isChanged ||= keys.length > 0;
      },
      observe: () => {},
      checkpoint,
    };
  }

  async cycle(pool: string): Promise<Ran> {
    this.#isChanged = false;
    const signal = AbortSignal.timeout(maxCycleMilliseconds);
    const report = await runCycle(this.#deps, pool, signal);
    return { ...report, isChanged: this.#isChanged, recordActivity: heardIn(this.#round) };
  }
}

const heardIn = (round: Round | undefined): Heard => ({
  explained: new Map(round?.explained.map((one) => [one.jobId, one])),
  settled: new Set(round?.settled),
});
