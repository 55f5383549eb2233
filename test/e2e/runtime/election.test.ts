/**
 * Leader election between three processes on a real control plane, each behind a proxy of its own, while leaders are
 * killed, frozen, cut off, silenced and terminated. Each leader writes heartbeats into PostgreSQL, fenced by its term; every
 * attempt is recorded, so that two at once would show even where the fence refused one of them.
 *
 * ROTA_ELECTION_MINUTES=5 goes on for that long with the faults in random order (with mocha --timeout 0);
 * ROTA_TEST_SEED repeats a run.
 */
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "chai";
import { Client } from "pg";
import { startPostgres } from "../../../dev/local/postgres.ts";
import type { Postgres } from "../../../dev/local/postgres.ts";
import type { FaultProxy } from "../../support/fault-proxy.ts";
import { electionTiming } from "./election-timing.ts";
import { eventually, seededRandom, setStage } from "./support.ts";
import type { Stage } from "./support.ts";

interface Candidate {
  readonly identity: string;
  readonly proxy: FaultProxy;
  readonly kubeconfig: string;
  process: ChildProcess;
  /** Whom it sees holding the lease. */
  sees: string;
}

interface Term {
  readonly identity: string;
  readonly fence: string;
}

const minutes = Number(process.env["ROTA_ELECTION_MINUTES"] ?? 0);
const seed = Number(process.env["ROTA_TEST_SEED"] ?? 20261123);
/** For the heartbeat's way and a busy machine; the election itself has the lease time. */
const slackSeconds = 2;

const schema = `
  CREATE TABLE election_fence (fence bigint NOT NULL);
  INSERT INTO election_fence VALUES (0);
  CREATE TABLE election_heartbeats (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity text        NOT NULL,
    fence    bigint      NOT NULL,
    accepted boolean     NOT NULL,
    at       timestamptz NOT NULL DEFAULT clock_timestamp()
  )`;

const lastTerm = `
  SELECT identity, fence
    FROM election_heartbeats
   WHERE at > clock_timestamp() - interval '0.3 s'
   ORDER BY id DESC
   LIMIT 1`;

/** Attempts made after a later term's first one: two leaders at once. */
const overlaps = `
  WITH ordered AS (
    SELECT identity, fence, accepted, at,
           max(fence) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS highest
      FROM election_heartbeats
  )
  SELECT identity, accepted, at
    FROM ordered
   WHERE fence < highest`;

const secondsToFailOver = `
  SELECT extract(epoch FROM min(at) - $2::timestamptz)::float8 AS seconds
    FROM election_heartbeats
   WHERE fence > $1`;

function listenTo(candidate: Candidate): void {
  candidate.process.on("message", (holder: unknown) => {
    if (typeof holder === "string") candidate.sees = holder;
  });
}

describe(`leader election between three processes (seed ${seed})`, () => {
  const random = seededRandom(seed);
  const candidates: Candidate[] = [];
  let stage: Stage;
  let postgres: Postgres;
  let database: Client;
  let freezes = 0;

  before(async () => {
    stage = await setStage();
    postgres = await startPostgres({ directory: join(stage.directory, "postgres") });
    database = new Client({ connectionString: postgres.url });
    await database.connect();
    await database.query(schema);
    for (const identity of ["a", "b", "c"]) {
      const { proxy, kubeconfig } = await stage.throughProxy();
      const process = start(kubeconfig, identity);
      const candidate = { identity, proxy, kubeconfig, process, sees: "" };
      listenTo(candidate);
      candidates.push(candidate);
    }
  });

  after(async () => {
    for (const candidate of candidates) await end(candidate);
    await database?.end();
    await postgres?.stop();
    await stage?.close();
  });

  const start = (kubeconfig: string, identity: string): ChildProcess =>
    fork(join(import.meta.dirname, "election-candidate.ts"), [kubeconfig, postgres.url, identity], {
      execPath: process.execPath,
    });

  async function end({ process }: Candidate): Promise<void> {
    if (process.exitCode !== null || process.signalCode !== null) return;
    const exited = once(process, "exit");
    process.kill("SIGKILL");
    await exited;
  }

  async function restart(candidate: Candidate): Promise<void> {
    await end(candidate);
    candidate.process = start(candidate.kubeconfig, candidate.identity);
    candidate.sees = "";
    listenTo(candidate);
  }

  async function currentTerm(): Promise<Term | undefined> {
    const { rows } = await database.query<Term>(lastTerm);
    return rows[0];
  }

  async function leader(): Promise<{ candidate: Candidate; term: Term }> {
    let term: Term | undefined;
    await eventually(
      30,
      async () => {
        term = await currentTerm();
        return term !== undefined;
      },
      () => "nobody leads",
    );
    const candidate = candidates.find(({ identity }) => identity === term?.identity);
    if (!candidate || !term) throw new Error("the leader is none of the candidates");
    return { candidate, term };
  }

  /** The leader, once the others know it: who has only just come has to wait for a lease time of its own. */
  async function settled(): Promise<{ candidate: Candidate; term: Term }> {
    let current = await leader();
    await eventually(
      30,
      async () => {
        current = await leader();
        return candidates.every(({ sees }) => sees === current.candidate.identity);
      },
      () =>
        `not all know the leader: ${candidates.map(({ identity, sees }) => `${identity} sees ${sees}`).join(", ")}`,
    );
    return current;
  }

  /** Waits for a later term; returns the seconds from `since` to its first heartbeat. */
  async function failOver(term: Term, since: Date): Promise<number> {
    let seconds: number | null = null;
    await eventually(
      electionTiming.leaseSeconds + 20,
      async () => {
        const { rows } = await database.query<{ seconds: number | null }>(secondsToFailOver, [
          term.fence,
          since,
        ]);
        seconds = rows[0]?.seconds ?? null;
        return seconds !== null;
      },
      () => "nobody took over",
    );
    return seconds ?? Number.POSITIVE_INFINITY;
  }

  async function expectFailOver(
    fault: (candidate: Candidate) => unknown,
    repair: (candidate: Candidate) => Promise<void> | void,
    limitSeconds: number,
  ): Promise<void> {
    const { candidate, term } = await settled();
    const since = new Date();
    await fault(candidate);
    try {
      expect(await failOver(term, since)).to.be.below(limitSeconds);
    } finally {
      await repair(candidate);
    }
  }

  const withinLease = electionTiming.leaseSeconds + slackSeconds;
  /** The earliest a successor could take over a lease that was not released, renewed a retry ago. */
  const withoutRelease = electionTiming.leaseSeconds - 2 * electionTiming.retrySeconds;
  const cases: Record<string, () => Promise<void>> = {
    "leader killed": () =>
      expectFailOver(({ process }) => process.kill("SIGKILL"), restart, withinLease),
    "leader frozen, and thawed when another leads": () =>
      expectFailOver(
        ({ process }) => {
          freezes += 1;
          return process.kill("SIGSTOP");
        },
        ({ process }) => void process.kill("SIGCONT"),
        withinLease,
      ),
    "leader cut off": () =>
      expectFailOver(
        ({ proxy }) => proxy.setMode({ kind: "cut" }),
        ({ proxy }) => proxy.setMode({ kind: "pass" }),
        withinLease,
      ),
    "leader's connection silent": () =>
      expectFailOver(
        ({ proxy }) => proxy.setMode({ kind: "stall" }),
        ({ proxy }) => {
          proxy.setMode({ kind: "pass" });
          proxy.reset();
        },
        withinLease,
      ),
    "leader terminated: the lease is released": () =>
      expectFailOver(({ process }) => process.kill("SIGTERM"), restart, withoutRelease),
  };

  async function expectNoOverlap(): Promise<void> {
    const { rows } = await database.query(overlaps);
    expect(rows.filter(({ accepted }) => accepted)).to.deep.equal([]);
    // A process frozen between looking at its clock and writing makes one attempt when it thaws; nothing but a fence helps.
    expect(rows.length, "attempts of a leader whose term was over").to.be.at.most(freezes);
  }

  for (const round of [1, 2]) {
    for (const [name, run] of Object.entries(cases)) {
      it(`${name} (round ${round})`, async () => {
        await run();
        await expectNoOverlap();
      });
    }
  }

  it("keeps its fence in a term longer than the lease", async () => {
    const { term } = await leader();
    const renewedFor = electionTiming.leaseSeconds * 1.5;
    const heldSince = performance.now();
    await eventually(
      renewedFor + 10,
      () => performance.now() - heldSince > renewedFor * 1000,
      () => "",
    );
    expect((await leader()).term).to.deep.equal(term);
  });

  if (minutes > 0) {
    it(`never has two leaders in ${minutes} minutes of faults`, async () => {
      const endMilliseconds = performance.now() + minutes * 60_000;
      const choices = Object.values(cases);
      while (performance.now() < endMilliseconds) {
        await choices[Math.floor(random() * choices.length)]?.();
        await expectNoOverlap();
      }
    });
  }
});
