/** `usage`: GPU-hours and CPU-hours of jobs. */
import type { UsageReport, UsageRow } from "../../api/http/schemas.ts";
import type { UsageKey } from "../choices.ts";
import { hoursText } from "../../domain/text.ts";
import { table, type Column } from "../output.ts";
import type { Session, View } from "../session.ts";
import { sinceOf } from "../since.ts";

const ownerText = ({ owner }: UsageRow): string =>
  owner === null || owner === undefined ? "(none)" : `${owner.kind} ${owner.name}`;

const keyColumns: Readonly<Record<UsageKey, Column<UsageRow>>> = {
  subtree: { title: "SUBTREE", value: ({ subtree }) => subtree },
  project: { title: "PROJECT", value: ({ project }) => project },
  owner: { title: "OWNER", value: ownerText },
  pool: { title: "POOL", value: ({ pool }) => pool },
  day: { title: "DAY", value: ({ day }) => day },
};

const sums: readonly Column<UsageRow>[] = [
  { title: "GPU-HOURS", value: ({ gpuSeconds }) => hoursText(gpuSeconds), right: true },
  {
    title: "BORROWED",
    value: ({ borrowedGpuSeconds }) => hoursText(borrowedGpuSeconds),
    right: true,
  },
  { title: "CPU-HOURS", value: ({ cpuSeconds }) => hoursText(cpuSeconds), right: true },
  { title: "ATTEMPTS", value: ({ attempts }) => attempts, right: true },
];

const toSeconds = (instant: string): string => instant.replace(/\.\d+/, "");

export interface UsageOptions {
  readonly since: string;
  readonly until?: string;
  readonly by: readonly UsageKey[];
  readonly within?: string;
  readonly pool?: string;
  /** Maximum number of rows. */
  readonly limit: number;
}

/** Times as in since.ts; days in the installation's time zone. The text says if there are more rows than `limit`. */
export const usage =
  ({ since, until, by, within, pool, limit }: UsageOptions) =>
  async ({ api }: Session): Promise<View> => {
    const query = { since: sinceOf(since), until: until && sinceOf(until), by, within, pool };
    const report = await api.whole<UsageReport>("/api/v1/usage", query, limit);
    const range = `from ${toSeconds(report.since)} to ${toSeconds(report.until)}, days in ${report.timeZone}`;
    return {
      data: report,
      text: () =>
        report.items.length === 0
          ? `No usage ${range}.`
          : [
              range,
              table(report.items, [...by.map((key) => keyColumns[key]), ...sums]),
              ...(report.next === null ? [] : [`More rows exist: raise --limit above ${limit}.`]),
            ].join("\n"),
    };
  };
