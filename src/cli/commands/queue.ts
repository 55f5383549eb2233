/** `queue`: waiting jobs in queue order. Their statuses have the reasons; the operator has the present positions. */
import type { QueuePage } from "../../api/http/schemas.ts";
import { CliError } from "../errors.ts";
import { ageText, shortened, table, type Column } from "../output.ts";
import { listJobs, type Job } from "../resources.ts";
import type { Session, View } from "../session.ts";

const waitingStates = new Set([
  "Pending",
  "Reserved",
  "Evicted",
  "Evicting",
  "Suspended",
  "Rejected",
]);

const isWaiting = ({ status }: Job): boolean =>
  status.state === undefined || waitingStates.has(status.state);

interface Entry {
  readonly job: Job;
  readonly position: number | null;
}

/** Jobs with reserved capacity start before those in the queue; a job without a position comes last. */
function rankOf({ job: { status }, position }: Entry): number {
  if (status.state === "Reserved") return 0;
  return position ?? Number.MAX_SAFE_INTEGER;
}

const byPlace = (one: Entry, other: Entry): number => {
  const [a, b] = [one.job, other.job];
  return (
    a.spec.pool.localeCompare(b.spec.pool) ||
    rankOf(one) - rankOf(other) ||
    (b.status.priority ?? 0) - (a.status.priority ?? 0) ||
    (a.status.queuedAt ?? "~").localeCompare(b.status.queuedAt ?? "~") ||
    a.metadata.name.localeCompare(b.metadata.name)
  );
};

const stateStyle = ({
  job: {
    status: { state },
  },
}: Entry) => {
  if (state === "Reserved" || state === "Evicting") return "yellow";
  return state === "Rejected" ? "red" : undefined;
};

/** Enough for the obstacle, which comes first; `why` prints the whole message. */
const maxMessage = 100;

const columns: readonly Column<Entry>[] = [
  { title: "POOL", value: ({ job }) => job.spec.pool },
  { title: "POS", value: ({ position }) => position, right: true },
  { title: "NAME", value: ({ job }) => job.metadata.name },
  { title: "PRIORITY", value: ({ job }) => job.status.priority, right: true },
  { title: "GPUS", value: ({ job }) => job.status.gpus, right: true },
  { title: "STATE", value: ({ job }) => job.status.state ?? "New", style: stateStyle },
  {
    title: "AGE",
    value: ({ job: { metadata, status } }) =>
      ageText(status.queuedAt ?? metadata.creationTimestamp),
  },
  { title: "REASON", value: ({ job }) => job.status.reason },
  {
    title: "MESSAGE",
    value: ({ job }) => shortened(job.status.message ?? "", maxMessage),
    flexible: true,
  },
];
const namespaceColumn: Column<Entry> = {
  title: "NAMESPACE",
  value: ({ job }) => job.metadata.namespace,
};

const maxPositions = 10_000;

interface Positions {
  readonly of: (job: Job) => number | null;
  readonly warning?: string;
}

/** Statuses follow the queue within seconds, one by one: two of them may show the same position for a while. */
async function positions({ api }: Session, namespace: string | undefined): Promise<Positions> {
  try {
    const items = await api.all<QueuePage["items"][number]>(
      "/api/v1/queue",
      { namespace },
      maxPositions,
    );
    const known = new Map(items.map((row) => [`${row.namespace}/${row.name}`, row.position]));
    return { of: ({ metadata }) => known.get(`${metadata.namespace}/${metadata.name}`) ?? null };
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    return {
      of: ({ status }) => status.queuePosition ?? null,
      warning: `positions are the last that each job's status has: ${error.message}`,
    };
  }
}

export interface QueueOptions {
  readonly pool?: string;
}

/** Without an operator, positions come from the statuses, with a warning. */
export const queue =
  ({ pool }: QueueOptions) =>
  async (session: Session): Promise<View> => {
    const { connection, namespace, options } = session;
    const all = options.allNamespaces === true;
    const listed = all ? undefined : namespace;
    const found = await listJobs(connection.client, listed);
    const { of: positionOf, warning } = await positions(session, listed);
    const waiting = found
      .filter((job) => isWaiting(job) && (pool === undefined || job.spec.pool === pool))
      .map((job) => ({ job, position: positionOf(job) }))
      .sort(byPlace);
    const items = waiting.map(({ job: { metadata, spec, status }, position }) => ({
      namespace: metadata.namespace,
      name: metadata.name,
      pool: spec.pool,
      position,
      priority: status.priority ?? null,
      gpus: status.gpus ?? null,
      state: status.state ?? null,
      reason: status.reason ?? null,
      message: status.message ?? null,
      queuedAt: status.queuedAt ?? null,
    }));
    const where = all ? "" : ` in namespace ${namespace}`;
    return {
      data: { items },
      warning,
      text: () =>
        waiting.length === 0
          ? `No job waits${where}.`
          : table(waiting, all ? [namespaceColumn, ...columns] : columns),
    };
  };
