/** `queue`: jobs that wait, in the order of the queue, as their own statuses say. */
import { ageText, table, type Column } from "../output.ts";
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

/** Held jobs start before those in the queue; what has no place is not in it. */
function rankOf({ status }: Job): number {
  if (status.state === "Reserved") return 0;
  return status.queuePosition ?? Number.MAX_SAFE_INTEGER;
}

const byPlace = (a: Job, b: Job): number =>
  a.spec.pool.localeCompare(b.spec.pool) ||
  rankOf(a) - rankOf(b) ||
  (b.status.priority ?? 0) - (a.status.priority ?? 0) ||
  (a.status.queuedAt ?? "~").localeCompare(b.status.queuedAt ?? "~") ||
  a.metadata.name.localeCompare(b.metadata.name);

const stateStyle = ({ status: { state } }: Job) => {
  if (state === "Reserved" || state === "Evicting") return "yellow";
  return state === "Rejected" ? "red" : undefined;
};

const maxMessage = 100;
const shortened = (text: string): string =>
  text.length <= maxMessage ? text : `${text.slice(0, maxMessage - 1)}…`;

const columns: readonly Column<Job>[] = [
  { title: "POOL", value: ({ spec }) => spec.pool },
  { title: "POS", value: ({ status }) => status.queuePosition, right: true },
  { title: "NAME", value: ({ metadata }) => metadata.name },
  { title: "PRIORITY", value: ({ status }) => status.priority, right: true },
  { title: "GPUS", value: ({ status }) => status.gpus, right: true },
  { title: "STATE", value: ({ status }) => status.state ?? "New", style: stateStyle },
  {
    title: "AGE",
    value: ({ metadata, status }) => ageText(status.queuedAt ?? metadata.creationTimestamp),
  },
  { title: "REASON", value: ({ status }) => status.reason },
  { title: "MESSAGE", value: ({ status }) => shortened(status.message ?? "") },
];
const namespaceColumn: Column<Job> = {
  title: "NAMESPACE",
  value: ({ metadata }) => metadata.namespace,
};

export interface QueueOptions {
  readonly pool?: string;
}

export const queue =
  ({ pool }: QueueOptions) =>
  async ({ connection, namespace, options }: Session): Promise<View> => {
    const all = options.allNamespaces === true;
    const found = await listJobs(connection.client, all ? undefined : namespace);
    const waiting = found
      .filter((job) => isWaiting(job) && (pool === undefined || job.spec.pool === pool))
      .sort(byPlace);
    const items = waiting.map(({ metadata, spec, status }) => ({
      namespace: metadata.namespace,
      name: metadata.name,
      pool: spec.pool,
      position: status.queuePosition ?? null,
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
      text: () =>
        waiting.length === 0
          ? `No job waits${where}.`
          : table(waiting, all ? [namespaceColumn, ...columns] : columns),
    };
  };
