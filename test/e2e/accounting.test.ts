/**
 * Accounting of jobs that really ran, were retried, evicted, suspended, cancelled and lost: what the HTTP API sums is what
 * a plain walk through job_events sums, and no pod was there outside of what its attempt is accounted for.
 */
import { expect } from "chai";
import type { UsageReport, UsageRow } from "../../src/api/http/schemas.ts";
import { hasEnded, nodesOf } from "../../src/resources/types.ts";
import { ask, certificateOf, withCertificate } from "../support/api-client.ts";
import { type JobOptions, plan, project } from "../support/installation.ts";
import { podType, useTeam } from "../support/team.ts";

const nodeType = nodesOf("nvidia.com/gpu");
const timeZone = "Asia/Kathmandu";

const runsFor = (seconds: number) => ({ "rota.dev/simulate-run-seconds": String(seconds) });
const leavesAfter = (seconds: number) => ({
  "rota.dev/simulate-termination-seconds": String(seconds),
});

interface Sums {
  attempts: Set<string>;
  gpuMicros: bigint;
  borrowedGpuMicros: bigint;
  /** Of CPU millicores. */
  cpuMicros: bigint;
  borrowedCpuMicros: bigint;
}

interface EventRow {
  readonly job_id: string;
  readonly attempt: number;
  readonly to_status: string;
  readonly borrowing: boolean;
  readonly gpus: number;
  readonly cpu_millis: string;
  readonly pool: string;
  readonly project_id: string;
  readonly micros: string;
}

interface ProjectRow {
  readonly id: string;
  readonly name: string;
  readonly parent_id: string | null;
  readonly owner: string | null;
}

interface Piece {
  readonly event: EventRow;
  readonly since: bigint;
  readonly until: bigint;
}

const live = new Set(["starting", "running", "evicting"]);

/** From an event of a job to its next; an event is never before the one it follows. */
function piecesOf(events: readonly EventRow[]): Piece[] {
  return [...Map.groupBy(events, ({ job_id: id }) => id).values()].flatMap((own) => {
    const times: bigint[] = [];
    for (const { micros } of own) {
      const former = times.at(-1) ?? 0n;
      times.push(BigInt(micros) > former ? BigInt(micros) : former);
    }
    return own.flatMap((event, index): Piece[] => {
      const [since, until] = [times[index], times[index + 1]];
      if (since === undefined || !live.has(event.to_status)) return [];
      if (until === undefined) throw new Error(`job ${event.job_id} has not ended`);
      return [{ event, since, until }];
    });
  });
}

/** Cut at the midnights of the time zone. */
function byDay({ event, since, until }: Piece): (Piece & { readonly day: string })[] {
  const at = (micros: bigint) =>
    Temporal.Instant.fromEpochNanoseconds(micros * 1000n).toZonedDateTimeISO(timeZone);
  const parts = [];
  for (let from = since; from < until;) {
    const midnight = at(from).startOfDay().add({ days: 1 }).epochNanoseconds / 1000n;
    const to = midnight < until ? midnight : until;
    parts.push({ event, since: from, until: to, day: at(from).toPlainDate().toString() });
    from = to;
  }
  return parts;
}

function lineOf(id: string | null, projects: ReadonlyMap<string, ProjectRow>): ProjectRow[] {
  const found = id === null ? undefined : projects.get(id);
  return found ? [found, ...lineOf(found.parent_id, projects)] : [];
}

type Key = "project" | "subtree" | "owner" | "pool" | "day";

function keysOf(
  key: Key,
  piece: ReturnType<typeof byDay>[number],
  projects: ReadonlyMap<string, ProjectRow>,
): readonly string[] {
  const line = lineOf(piece.event.project_id, projects);
  if (key === "subtree") return line.map(({ name }) => name);
  if (key === "project") return line.slice(0, 1).map(({ name }) => name);
  if (key === "owner") return [line.find(({ owner }) => owner !== null)?.owner ?? "none"];
  return [key === "pool" ? piece.event.pool : piece.day];
}

function summed(
  key: Key,
  pieces: readonly Piece[],
  projects: ReadonlyMap<string, ProjectRow>,
): Map<string, Sums> {
  const sums = new Map<string, Sums>();
  for (const piece of pieces.flatMap(byDay)) {
    const { event } = piece;
    const micros = piece.until - piece.since;
    if (micros === 0n) continue;
    for (const name of keysOf(key, piece, projects)) {
      const sum = sums.get(name) ?? {
        attempts: new Set(),
        gpuMicros: 0n,
        borrowedGpuMicros: 0n,
        cpuMicros: 0n,
        borrowedCpuMicros: 0n,
      };
      sums.set(name, sum);
      sum.attempts.add(`${event.job_id} ${event.attempt}`);
      const [gpu, cpu] = [micros * BigInt(event.gpus), micros * BigInt(event.cpu_millis)];
      sum.gpuMicros += gpu;
      sum.cpuMicros += cpu;
      sum.borrowedGpuMicros += event.borrowing ? gpu : 0n;
      sum.borrowedCpuMicros += event.borrowing ? cpu : 0n;
    }
  }
  return sums;
}

const keyOfRow = (key: Key, row: UsageRow): string =>
  key === "owner" ? (row.owner?.name ?? "none") : (row[key] ?? "");

describe("accounting of real jobs", function () {
  // Before the hook that stops the installation.
  const watching = new AbortController();
  let watched: Promise<void> | undefined;
  after(async () => {
    watching.abort();
    await watched;
  });

  const ofUser = (name: string) => ({ owner: { kind: "User", name } });
  const team = useTeam({
    operator: { ROTA_TIME_ZONE: timeZone },
    objects: [
      project("org", ofUser("olga")),
      project("a", { parent: "org" }),
      project("b", { parent: "org", ...ofUser("bob") }),
      project("c", { parent: "a", ...ofUser("carla") }),
      plan("olga-gold", { ...ofUser("olga"), pool: "gold", quantity: 20 }),
      plan("bob-gold", { ...ofUser("bob"), pool: "gold", quantity: 8 }),
      plan("olga-silver", { ...ofUser("olga"), pool: "silver", quantity: 8 }),
    ],
  });
  const { suspend } = team;
  /** Of each pod that was seen: its attempt, when it was made, and when it was last seen to hold its node. */
  const seen = new Map<string, { attempt: string; madeSeconds: number; reservedSeconds: number }>();

  async function watchPods(): Promise<void> {
    while (!watching.signal.aborted) {
      const askedSeconds = Date.now() / 1000;
      for (const raw of await team.view.client.list(podType)) {
        const pod = podType.project(raw);
        if (pod.jobKey === "") continue;
        const madeSeconds = Temporal.Instant.from(pod.createdAt).epochMilliseconds / 1000;
        const former = seen.get(pod.uid)?.reservedSeconds ?? madeSeconds;
        seen.set(pod.uid, {
          attempt: `${pod.jobUid} ${pod.attempt}`,
          madeSeconds,
          reservedSeconds: hasEnded(pod) ? former : Math.max(former, askedSeconds),
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  before(async () => {
    const { view, cluster } = team;
    await cluster.addNodes({ count: 2, gpus: 8, pool: "gold", namePrefix: "gold-" });
    await cluster.addNodes({ count: 1, gpus: 8, pool: "silver", namePrefix: "silver-" });
    await view.until("the projects to be ready", async () => {
      const found = await view.projects();
      return found.every(({ status }) => status.namespace !== undefined);
    });
    watched = watchPods();
  });

  const submit = (key: string, options: Partial<JobOptions>): Promise<void> =>
    team.submit(key, { pool: "gold", cpu: "1500m", ...options });
  const is = (key: string, state: string, attempt = 1): Promise<unknown> =>
    team.until(key, `be ${state} in attempt ${attempt}`, ({ status }) => {
      return status.state === state && status.attempt === attempt;
    });

  /** Some twenty jobs, in all ways in which an attempt can end. */
  async function everyWayToEnd(): Promise<void> {
    const { view } = team;
    for (const [index, namespace] of ["org", "a", "b", "c", "a", "b", "c", "b"].entries()) {
      const pool = index % 3 === 2 ? "silver" : "gold";
      const wish = {
        gpus: index % 3,
        parallelism: 1 + (index % 2),
        pool,
        annotations: runsFor(index % 2),
      };
      await submit(`${namespace}/quick-${index}`, wish);
    }
    const fails = { ...runsFor(0), "rota.dev/simulate-exit-code": "3" };
    await submit("c/fails", {
      gpus: 2,
      parallelism: 2,
      pool: "silver",
      annotations: fails,
      spec: { backoffLimit: 1 },
    });
    await submit("a/pauses", { gpus: 3, pool: "silver", annotations: leavesAfter(2) });
    await is("a/pauses", "Running");
    await suspend("a/pauses", true);
    await is("a/pauses", "Suspended");
    await suspend("a/pauses", false);
    await is("a/pauses", "Running", 2);
    for (const [index, namespace] of ["org", "a", "b", "c", "a", "b", "c", "b"].entries())
      await is(`${namespace}/quick-${index}`, "Succeeded");
    // Of what follows some is past bob's plan, and some past olga's, until others have left.
    await submit("b/first", { gpus: 8, annotations: leavesAfter(2) });
    await is("b/first", "Running");
    await submit("b/second", { gpus: 8, annotations: leavesAfter(2) });
    await is("b/second", "Running");
    await submit("a/urgent", { gpus: 8, priorityClassName: "high", cpu: "4" });
    await is("a/urgent", "Running");
    await is("b/second", "Evicted");
    await team.cancel("a/urgent");
    await is("b/second", "Running", 2);
    const { nodes = [] } = (await team.job("b/first")).status;
    await view.client.delete(nodeType, nodes[0] ?? "");
    await view.until("b/first to have lost its node", async () => {
      return (await team.job("b/first")).status.state === "Pending";
    });
    await submit("b/second-half", { gpus: 0, cpu: "250m", parallelism: 3 });
    await is("b/second-half", "Running");
    await is("c/fails", "Failed", 2);
    for (const key of ["a/pauses", "b/first", "b/second", "b/second-half"]) await team.cancel(key);
    await view.until("all to have ended", async () => {
      const { rows } = await team.database.pool.query(
        "SELECT FROM jobs WHERE active_project_id IS NOT NULL",
      );
      return rows.length === 0;
    });
  }

  it("equals the event history, by every key", async () => {
    const { database, cluster } = team;
    const since = Temporal.Now.instant().subtract({ hours: 1 }).toString();
    await everyWayToEnd();
    await team.checkInvariants();
    const until = Temporal.Now.instant().toString();
    const { rows: events } = await database.pool.query<EventRow>(
      `SELECT job_id, attempt, to_status::text, borrowing, gpus, cpu_millis::text, pool, project_id,
         (extract(epoch FROM at) * 1000000)::bigint::text AS micros
       FROM job_events ORDER BY id`,
    );
    const { rows: projectRows } = await database.pool.query<ProjectRow>(
      "SELECT project.id, project.name, parent_id, owner.name AS owner FROM projects AS project LEFT JOIN owners AS owner ON owner.id = owner_id",
    );
    const projects = new Map(projectRows.map((row) => [row.id, row]));
    const pieces = piecesOf(events);
    const identity = withCertificate(certificateOf(cluster.kubeconfig));
    for (const key of ["project", "subtree", "owner", "pool", "day"] as const) {
      const target = `/api/v1/usage?since=${since}&until=${until}&by=${key}&limit=500`;
      const { body } = await ask<UsageReport>(team.operator.apiUrl, target, identity);
      const naive = summed(key, pieces, projects);
      expect(body.items.map((row) => keyOfRow(key, row)).toSorted(), `by ${key}`).to.deep.equal(
        [...naive.keys()].toSorted(),
      );
      for (const row of body.items) {
        const name = keyOfRow(key, row);
        const sums = naive.get(name);
        if (sums === undefined) throw new Error(`${key} ${name} used nothing`);
        expect(row.attempts, `attempts of ${name}`).to.equal(sums.attempts.size);
        const seconds = (micros: bigint): number => Number(micros) / 1e6;
        for (const [shown, own] of [
          [row.gpuSeconds, seconds(sums.gpuMicros)],
          [row.borrowedGpuSeconds, seconds(sums.borrowedGpuMicros)],
          [row.cpuSeconds, seconds(sums.cpuMicros) / 1000],
          [row.borrowedCpuSeconds, seconds(sums.borrowedCpuMicros) / 1000],
        ] as const) {
          expect(shown, `${key} ${name}`).to.be.closeTo(own, 1e-5);
        }
      }
    }
    // The story was as it is told above: attempts that were evicted, failed, suspended, cancelled, and lost their node.
    const ends = new Set(
      events.map(({ to_status: to, attempt }) => `${to} ${attempt > 1 ? "again" : "first"}`),
    );
    expect([...ends]).to.include.members(["evicted first", "failed again", "cancelled again"]);
    expect(
      Number(summed("pool", pieces, projects).get("gold")?.borrowedGpuMicros ?? 0n),
    ).to.be.above(0);

    const periods = new Map<string, { since: bigint; until: bigint }>();
    for (const piece of pieces) {
      const id = `${piece.event.job_id} ${piece.event.attempt}`;
      periods.set(id, { since: periods.get(id)?.since ?? piece.since, until: piece.until });
    }
    expect(new Set([...seen.values()].map(({ attempt }) => attempt)).size).to.be.at.least(15);
    for (const { attempt, madeSeconds, reservedSeconds } of seen.values()) {
      const period = periods.get(attempt);
      if (period === undefined) throw new Error(`a pod of ${attempt} is accounted nowhere`);
      // Creation times have whole seconds.
      expect(madeSeconds + 1, `${attempt} before it is accounted`).to.be.above(
        Number(period.since) / 1e6,
      );
      expect(reservedSeconds, `${attempt} after it is accounted`).to.be.at.most(
        Number(period.until) / 1e6,
      );
    }
  });
});
