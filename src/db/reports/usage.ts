/**
 * Accounting: GPU-seconds and CPU-seconds of job attempts, from the history of jobs and projects.
 *
 * An attempt uses its whole demand from its admission (starting) until its capacity is free again: running and evicting
 * count, waiting and reservations do not. Every change of status and of the borrowing mark is an event. A segment lasts
 * from one event of a job to the next; time within quota and time borrowing are reported separately. Running jobs count
 * up to now.
 *
 * A segment belongs to the path and owner that the project had at that time (project_periods), so a move does not
 * change past usage. A subtree is identified by its top project, wherever that was in the tree.
 */
import { RotaError } from "../../errors.ts";
import { labelOf, nameOf } from "../../domain/project-path.ts";
import type { Owner } from "../tenants/owners.ts";
import { readPage, type Page, type PageRequest } from "./page.ts";
import { run } from "../client/connection-pool.ts";
import type { Queryable } from "../client/types.ts";

/** Dimensions of the sums. `subtree`: each project with its descendants, so a second of use counts at every level. */
export type UsageDimension = "project" | "subtree" | "owner" | "pool" | "day" | "attempt";

export interface UsageQuery {
  /** Half-open: includes from, excludes to. */
  readonly from: Temporal.Instant;
  readonly to: Temporal.Instant;
  /** IANA name; days are calendar days of this zone, so some have 23 or 25 hours. */
  readonly timeZone: string;
  /** Empty: one row with the total. */
  readonly by: readonly UsageDimension[];
  /** Only usage at or below the project of this name. */
  readonly within?: string | undefined;
  readonly owner?: Owner | undefined;
  readonly pool?: string | undefined;
}

/** A sum; has the keys that the query asked for. */
export interface Usage {
  readonly project?: string;
  readonly subtree?: string;
  /** Null: neither the project nor any ancestor had an owner. */
  readonly owner?: Owner | null;
  readonly pool?: string;
  /** YYYY-MM-DD */
  readonly day?: string;
  readonly attempt?: {
    readonly jobId: string;
    /** namespace/name */
    readonly job: string;
    readonly attempt: number;
  };
  /** Attempts with any usage. */
  readonly attempts: number;
  readonly gpuSeconds: number;
  /** The part over quota. */
  readonly borrowedGpuSeconds: number;
  readonly cpuSeconds: number;
  readonly borrowedCpuSeconds: number;
}

/** Every segment is split by calendar day, so a range must have a limit. */
const maxRangeDays = 3700;

const namePattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

function checkRange({ from, to }: UsageQuery): void {
  const range = `usage from ${from.toString()} to ${to.toString()}`;
  const days = (to.epochMilliseconds - from.epochMilliseconds) / 86_400_000;
  if (days <= 0) throw new RotaError("InvalidValue", `${range}: the end must be later`);
  if (days > maxRangeDays) {
    throw new RotaError("InvalidValue", `${range}: ask for at most ${maxRangeDays} days`);
  }
}

interface Calendar {
  /** YYYY-MM-DD */
  readonly firstDay: string;
  /** The first instant of each day, and of the one after the last. */
  readonly bounds: readonly string[];
}

/** The days of the range. They come from the program: PostgreSQL reads names of time zones otherwise than Temporal. */
function calendarOf({ from, to, timeZone, by }: UsageQuery): Calendar {
  const first = from.toZonedDateTimeISO(timeZone).toPlainDate();
  const firstDay = first.toString();
  if (!by.includes("day")) return { firstDay, bounds: [] };
  const bounds: Temporal.Instant[] = [];
  for (let day = first; ; day = day.add({ days: 1 })) {
    const start = day.toZonedDateTime(timeZone).toInstant();
    bounds.push(start);
    if (Temporal.Instant.compare(start, to) > 0) break;
  }
  return { firstDay, bounds: bounds.map(String) };
}

function checkName(within: string | undefined): void {
  if (within === undefined || namePattern.test(within)) return;
  throw new RotaError("InvalidValue", `"${within}" is not the name of a project: use a DNS label`);
}

const keyColumns: Readonly<Record<UsageDimension, string>> = {
  project: `subpath(path, -1)::text AS project`,
  subtree: `top AS subtree`,
  owner: `owner_id`,
  pool: `pool`,
  day: `day::text AS day`,
  attempt: `jsonb_build_object('jobId', job_id, 'job', namespace || '/' || name, 'attempt', attempt) AS attempt`,
};

const order = ["day", "owner", "subtree", "project", "pool", "attempt"] as const;

/** The values of a row's keys, in the order of the response; an owner is two values, null without an owner. */
export type UsageKey = readonly unknown[];

interface Row extends Omit<Usage, "owner"> {
  readonly key: UsageKey;
  readonly owner_id?: number | null;
  readonly owner_kind?: Owner["kind"] | null;
  readonly owner_name?: string | null;
}

function ownerOf({ owner_kind: kind, owner_name: name }: Row): Pick<Usage, "owner"> {
  if (kind === undefined || name === undefined) return {};
  return { owner: kind === null || name === null ? null : { kind, name } };
}

function usage(row: Row): Usage {
  const { key: _key, owner_id: _id, owner_kind: _kind, owner_name: _name, ...shown } = row;
  const { project, subtree, ...rest } = shown;
  return {
    ...rest,
    ...(project === undefined ? {} : { project: nameOf(project) }),
    ...(subtree === undefined ? {} : { subtree: nameOf(subtree) }),
    ...ownerOf(row),
  };
}

/**
 * Where a report ends that asks for usage up to `to` (RFC 3339): now, if that is earlier. By the database's clock, which
 * wrote the history: with another one, or with a time still to come, each page would count running jobs up to another
 * instant.
 */
export async function usageEnd(db: Queryable, to: string | undefined): Promise<string> {
  const [row] = await run<{ readonly end: Temporal.Instant }>(
    db,
    'SELECT least($1::timestamptz, now()) AS "end"',
    [to === undefined ? null : Temporal.Instant.from(to).toString()],
  );
  if (row === undefined) throw new Error("a SELECT without FROM has one row");
  return row.end.toString();
}

/**
 * A page of sums over a range of time, in one statement: ordered by day, owner (none first), subtree, project, pool and
 * attempt, as far as they are dimensions. There are no rows without usage. Every page is computed anew, so pages are
 * consistent only if the range has ended (usageEnd). Throws RotaError InvalidValue.
 */
export async function usagePage(
  db: Queryable,
  { limit, after, ...query }: UsageQuery & PageRequest<UsageKey>,
): Promise<Page<Usage, UsageKey>> {
  checkRange(query);
  checkName(query.within);
  const { firstDay, bounds } = calendarOf(query);
  return readPage<Row, Usage, UsageKey>(db, {
    text: statement(new Set(query.by)),
    values: [
      query.from.toString(),
      query.to.toString(),
      bounds,
      query.within === undefined ? null : labelOf(query.within),
      query.owner?.kind ?? null,
      query.owner?.name ?? null,
      query.pool ?? null,
      after === undefined ? null : JSON.stringify(after),
      firstDay,
    ],
    limit,
    keyOf: ({ key }) => key,
    show: usage,
  });
}

/** The labels of a path, from the requested project down: names are unique within a path. */
const levels = `
    CROSS JOIN LATERAL unnest(string_to_array(
      subpath(path, CASE WHEN $4::text IS NULL THEN 0 ELSE index(path, $4::text::ltree) END)::text, '.'
    )) AS top`;

/** The days that a piece touches: $3 has their boundaries in order, $9 is the first day. */
const days = `
    CROSS JOIN LATERAL (
      SELECT $9::date + (place - 1) AS day, ($3::timestamptz[])[place] AS day_since,
        ($3::timestamptz[])[place + 1] AS day_until
      FROM generate_series(
        width_bucket(piece.since, $3::timestamptz[]), width_bucket(piece.until, $3::timestamptz[])
      ) AS place
    ) AS calendar`;

/** Combines only constant SQL fragments; all values are parameters. */
function statement(by: ReadonlySet<UsageDimension>): string {
  const keys = order.filter((one) => by.has(one));
  const columns = keys.map((one) => keyColumns[one]);
  const since = by.has("day") ? "greatest(piece.since, day_since)" : "piece.since";
  const until = by.has("day") ? "least(piece.until, day_until)" : "piece.until";
  return `
  WITH asked AS (
    SELECT $1::timestamptz AS since, least($2::timestamptz, now()) AS until, $3::timestamptz[] AS days,
      $9::date AS first_day
  ),
  period AS MATERIALIZED (
    SELECT project_id, path, owner_id, period.since, period.until
    FROM project_periods AS period, asked
    WHERE ($4::text IS NULL OR path ~ ('*.' || $4 || '.*')::lquery)
      AND ($5::owner_kind IS NULL OR owner_id = (SELECT id FROM owners WHERE kind = $5 AND name = $6))
      AND period.since < asked.until AND period.until > asked.since
  ),
  -- Jobs that ran in the range have an event after its start or still run.
  involved AS MATERIALIZED (
    SELECT job_id
    FROM job_events
    WHERE at >= $1 AND project_id IN (SELECT project_id FROM period) AND ($7::text IS NULL OR pool = $7)
    UNION
    SELECT id FROM jobs
    WHERE active_project_id IN (SELECT project_id FROM period) AND job_is_live(status)
  ),
  -- An event has the start time of its transaction, which may be earlier than that of the previous event.
  ordered AS (
    SELECT event.*, max(at) OVER (PARTITION BY job_id ORDER BY id ROWS UNBOUNDED PRECEDING) AS since
    FROM job_events AS event
    WHERE job_id = ANY (ARRAY(SELECT job_id FROM involved))
  ),
  segment AS (
    SELECT ordered.*, lead(since, 1, 'infinity') OVER (PARTITION BY job_id ORDER BY id) AS until
    FROM ordered
  ),
  piece AS (
    SELECT segment.job_id, segment.attempt, segment.namespace, segment.name, segment.pool, segment.borrowing,
      segment.gpus, segment.cpu_millis, period.path, period.owner_id,
      greatest(segment.since, period.since, asked.since) AS since,
      least(segment.until, period.until, asked.until) AS until
    FROM segment
    JOIN period ON period.project_id = segment.project_id
    CROSS JOIN asked
    WHERE job_is_live(segment.to_status) AND ($7::text IS NULL OR segment.pool = $7)
  ),
  used AS (
    SELECT ${["piece.*", ...(by.has("subtree") ? ["top"] : []), ...(by.has("day") ? ["day"] : [])].join(", ")},
      extract(epoch FROM ${until} - ${since}) AS seconds
    FROM piece${by.has("subtree") ? levels : ""}${by.has("day") ? days : ""}
    WHERE piece.since < piece.until
  ),
  summed AS (
    SELECT ${[...columns, ""].join(", ")}
      count(DISTINCT (job_id, attempt))::int AS attempts,
      sum(seconds * gpus)::float8 AS "gpuSeconds",
      coalesce(sum(seconds * gpus) FILTER (WHERE borrowing), 0)::float8 AS "borrowedGpuSeconds",
      (sum(seconds * cpu_millis) / 1000)::float8 AS "cpuSeconds",
      (coalesce(sum(seconds * cpu_millis) FILTER (WHERE borrowing), 0) / 1000)::float8 AS "borrowedCpuSeconds"
    FROM used
    WHERE seconds > 0
    ${keys.length === 0 ? "HAVING count(*) > 0" : `GROUP BY ${keys.map((_, index) => index + 1).join(", ")}`}
  )
  SELECT keyed.*
  FROM (
    SELECT summed.*${by.has("owner") ? ", owner.kind AS owner_kind, owner.name AS owner_name" : ""},
      jsonb_build_array(${keys.map((one) => (one === "owner" ? "owner.kind, owner.name" : one)).join(", ")}) AS key
    FROM summed
    ${by.has("owner") ? "LEFT JOIN owners AS owner ON owner.id = summed.owner_id" : ""}
  ) AS keyed
  WHERE $8::jsonb IS NULL OR key > $8
  ORDER BY key
  LIMIT $10
`;
}
