/** `top [pools|nodes]`: capacity and usage. */
import type { NodeUsage, PoolUsage } from "../../api/http/schemas.ts";
import type { Topic } from "../choices.ts";
import { coresNumber, gibibytesText } from "../../domain/text.ts";
import { table, type Column } from "../output.ts";
import type { Session, View } from "../session.ts";

const maxRows = 10_000;

interface Used {
  readonly usage: PoolUsage["usage"];
}

function share({ usage }: Used): number | undefined {
  const { allocatable, committed, otherUsage } = usage;
  if (allocatable.gpus === 0) return undefined;
  return Math.round(((committed.gpus + otherUsage.gpus) / allocatable.gpus) * 100);
}

const freeGpus = ({ usage: { allocatable, committed, otherUsage } }: Used): number =>
  allocatable.gpus - committed.gpus - otherUsage.gpus;

const gauges: readonly Column<Used>[] = [
  { title: "GPUS", value: ({ usage }) => usage.allocatable.gpus, right: true },
  { title: "USED", value: ({ usage }) => usage.committed.gpus, right: true },
  { title: "OTHER", value: ({ usage }) => usage.otherUsage.gpus, right: true },
  { title: "RESERVED", value: ({ usage }) => usage.reserved.gpus, right: true },
  { title: "FREE", value: freeGpus, right: true },
  {
    title: "%",
    value: share,
    right: true,
    style: (row) => ((share(row) ?? 0) >= 90 ? "yellow" : undefined),
  },
  {
    title: "CPU USED",
    value: ({ usage }) =>
      `${coresNumber(usage.committed.cpuMillis)}/${coresNumber(usage.allocatable.cpuMillis)}`,
    right: true,
  },
  {
    title: "MEMORY USED",
    value: ({ usage }) =>
      `${gibibytesText(usage.committed.memoryBytes)}/${gibibytesText(usage.allocatable.memoryBytes)}`,
    right: true,
  },
];

const poolColumns: readonly Column<PoolUsage>[] = [
  { title: "POOL", value: ({ pool }) => pool },
  {
    title: "NODES",
    value: ({ nodes, schedulable }) => (nodes === schedulable ? nodes : `${schedulable}/${nodes}`),
    right: true,
  },
  ...gauges,
  { title: "RUNNING", value: ({ jobsRunning }) => jobsRunning, right: true },
  { title: "WAITING", value: ({ jobsPending }) => jobsPending, right: true },
  { title: "BORROWED", value: ({ gpusBorrowed }) => gpusBorrowed, right: true },
  { title: "PENDING", value: ({ gpusPending }) => gpusPending, right: true },
];

const nodeColumns: readonly Column<NodeUsage>[] = [
  { title: "NODE", value: ({ node }) => node },
  { title: "POOL", value: ({ pool }) => pool },
  ...gauges,
  { title: "JOBS", value: ({ jobs }) => jobs, right: true },
  {
    title: "STATE",
    value: ({ schedulable }) => (schedulable ? "Ready" : "Unschedulable"),
    style: ({ schedulable }) => (schedulable ? undefined : "red"),
  },
];

export interface TopOptions {
  readonly pool?: string;
}

/** Needs an operator: throws CliError if none is reachable. */
export const top =
  (what: Topic, { pool }: TopOptions) =>
  async ({ api }: Session): Promise<View> => {
    if (what === "nodes") {
      const items = await api.all<NodeUsage>("/api/v1/nodes", { pool }, maxRows);
      return { data: { items }, text: () => table(items, nodeColumns) };
    }
    const all = await api.all<PoolUsage>("/api/v1/pools", {}, maxRows);
    const items = all.filter((row) => pool === undefined || row.pool === pool);
    return { data: { items }, text: () => table(items, poolColumns) };
  };
