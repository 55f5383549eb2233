/**
 * Possible victims for blocked jobs: a small superset, from which the decision chooses. One statement for the jobs that
 * lack GPUs, CPU, memory or pods, one for those that may lack other resources.
 */
import { storableJson } from "../../domain/text.ts";
import type { NodeRoom, VictimRequest } from "../../domain/scheduling/decision.ts";
import {
  type EvictionRejection,
  type EvictionRejections,
  rejectionOf,
} from "../../domain/scheduling/eviction-rejection.ts";
import {
  dimensionsOf,
  podsThatFit,
  quantityOf,
  roomIn,
  times,
} from "../../domain/scheduling/resources.ts";
import type { LiveJob, Placement } from "../../domain/scheduling/snapshot.ts";
import { run } from "../client/connection-pool.ts";
import { type PerPodRow, perPodOf } from "../jobs/resources.ts";
import { prepared } from "../client/prepared.ts";
import type { Queryable } from "../client/types.ts";
import { searchByColumns } from "./victims-by-columns.ts";
import { searchByName } from "./victims-by-name.ts";
import { PROPOSALS, SPARED } from "./victims-shared.ts";

export interface FinderLimits {
  /**
   * Nodes examined closely per blocked job after the rough bound: half with the lowest bound, half with the largest
   * pods.
   */
  readonly closeNodes: number;
  /** Nodes proposed per blocked job, in addition to those that its gang needs. */
  readonly nodes: number;
  /** Jobs proposed per exceeded quota, in addition to those that relieve it. */
  readonly siblings: number;
}

export const DEFAULT_LIMITS: FinderLimits = { closeNodes: 256, nodes: 32, siblings: 32 };

interface Row extends PerPodRow {
  readonly id: string;
  readonly key: string;
  readonly attempt: number;
  readonly priority: number;
  readonly status: "starting" | "running";
  readonly started_at: number;
  readonly borrowing: boolean;
  readonly allocations: readonly Placement[];
  readonly quotas: readonly string[];
}

/**
 * Proposed victims for all requests together. `budgets` has what blocks evictions, by job id.
 */
export async function findVictims(
  db: Queryable,
  pool: string,
  requests: readonly VictimRequest[],
  budgets: EvictionRejections = new Map(),
  limits: FinderLimits = DEFAULT_LIMITS,
): Promise<LiveJob[]> {
  const byColumns = requests.filter(isByColumns).flatMap(eachWay);
  const byName = requests.filter(({ rooms }) => rooms !== undefined).flatMap(eachWay);
  const propose = async (
    statement: string,
    asked: readonly VictimRequest[],
    spared: readonly string[] = [],
  ): Promise<Row[]> => {
    if (asked.length === 0) return [];
    const powers = [...new Set(asked.map(powerOf))];
    return run<Row>(db, statement, [
      pool,
      storableJson(asked.map((request, index) => parameter(request, index, powers))),
      spared,
      limits.closeNodes,
      limits.nodes,
      limits.siblings,
    ]);
  };
  const rows = [
    ...(await propose(FIND.byColumns, byColumns)),
    ...(await propose(FIND.byName, byName)),
  ];
  // Victims without regard to budgets, and victims that no budget protects: the decision reports budgets that block it.
  if (budgets.size > 0) {
    const isOpen = new Set(
      rows.filter((row) => isPast(row, rejectionOf(row, budgets))).map(({ id }) => id),
    );
    const spared = [...budgets.keys()].filter((id) => !isOpen.has(id));
    rows.push(...(await propose(FIND_SPARING.byColumns, byColumns, spared)));
    rows.push(...(await propose(FIND_SPARING.byName, byName, spared)));
  }
  const byId = new Map(rows.map((row) => [row.id, row]));
  return [...byId.values()].map((row) => liveJob(row, rejectionOf(row, budgets)));
}

const isPast = ({ borrowing }: Row, budget: EvictionRejection | undefined): boolean =>
  borrowing && budget?.isOverdue === true;

/** Some nodes may be left to the other search, or all. */
const isByColumns = ({ nodes, rooms }: VictimRequest): boolean =>
  rooms === undefined || nodes === undefined || nodes.length > 0;

/** Above every priority of a class. */
const anyPriority = 2 ** 31 - 1;

/**
 * A job over its quota can start either within quota (after evicting siblings) or as a borrower, and one within quota
 * evicts borrowers rather than others. These have different candidate victims, so each is searched separately: the best
 * nodes for one must not hide those for the other.
 */
function eachWay(request: VictimRequest): VictimRequest[] {
  if (request.inside) return [request, { ...request, inside: false, priority: anyPriority }];
  if (request.over.length === 0 || !request.borrows) return [request];
  return [
    { ...request, borrows: false },
    { ...request, over: [] },
  ];
}

/** Requests with the same power may evict the same jobs, which are read once for all of them. */
const powerOf = ({ priority, inside, over, borrows }: VictimRequest): string =>
  storableJson([priority, inside, over.length > 0, borrows]);

const parameter = (request: VictimRequest, index: number, powers: readonly string[]) => ({
  preemptor: index,
  power: powers.indexOf(powerOf(request)),
  priority: request.priority,
  inside: request.inside,
  claims: request.over.length > 0,
  borrows: request.borrows,
  parallelism: request.parallelism,
  per_node: Math.min(request.parallelism, request.maxPodsPerNode ?? request.parallelism),
  gpus: request.perPod.gpus,
  cpu_millis: request.perPod.cpuMillis,
  memory_bytes: request.perPod.memoryBytes,
  nodes: request.nodes ?? null,
  over: request.over.map((one) => ({
    quota: one.quotaId,
    resource_type: one.resourceType,
    excess: one.excess,
  })),
  changed: request.changed.map(({ node, room }) => ({
    node,
    gpus: room.gpus,
    cpu_millis: room.cpuMillis,
    memory_bytes: room.memoryBytes,
    pods: room.pods,
  })),
  rooms: Object.fromEntries((request.rooms ?? []).flatMap((room) => lacksOf(room, request))),
});

/**
 * What one more pod lacks on a node, of each resource of which there may be too little for the gang, by its dimension;
 * nothing where the whole gang fits.
 */
function lacksOf({ node, room }: NodeRoom, { perPod, parallelism }: VictimRequest) {
  const fits = podsThatFit(room, perPod);
  if (fits >= parallelism) return [];
  const [next, gang] = [times(perPod, fits + 1), times(perPod, parallelism)];
  const lacks = dimensionsOf(perPod)
    .filter((one) => quantityOf(perPod, one) > 0 && roomIn(room, one) < quantityOf(gang, one))
    .map((one) => [one, quantityOf(next, one) - roomIn(room, one)] as const);
  const lacking = lacks.filter(([, amount]) => amount > 0).length;
  return [[node, { lacks: Object.fromEntries(lacks), lacking }]];
}

function blockedBy(
  row: Row,
  blocking: EvictionRejection | undefined,
): Pick<LiveJob, "protected" | "pastBudget" | "refused"> {
  if (blocking === undefined) return {};
  const { budget } = blocking;
  if (budget === undefined) return { refused: true };
  return isPast(row, blocking) ? { pastBudget: budget } : { protected: budget };
}

const liveJob = (row: Row, blocking: EvictionRejection | undefined): LiveJob => ({
  id: row.id,
  key: row.key,
  attempt: row.attempt,
  priority: row.priority,
  status: row.status,
  startedAtSeconds: row.started_at,
  borrowing: row.borrowing,
  perPod: perPodOf(row),
  allocations: row.allocations,
  quotas: row.quotas,
  ...blockedBy(row, blocking),
});

/** A condition on job_id, even if always true, prevents index-only scans; hence statements of their own. */
const sparing = `AND own.job_id <> ALL (${SPARED})`;

const FIND = {
  byColumns: prepared("find_victims")`${searchByColumns("")}${PROPOSALS}`,
  byName: prepared("find_victims_by_name")`${searchByName("")}${PROPOSALS}`,
};
const FIND_SPARING = {
  byColumns: prepared("find_victims_sparing")`${searchByColumns(sparing)}${PROPOSALS}`,
  byName: prepared("find_victims_by_name_sparing")`${searchByName(sparing)}${PROPOSALS}`,
};
