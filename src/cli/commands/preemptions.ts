/** `preemptions`: the preemption log, newest first. */
import type { Preemption } from "../../api/http/schemas.ts";
import { listedUpTo } from "../../domain/text.ts";
import { ageText, printable, table, type Column } from "../output.ts";
import type { Session, View } from "../session.ts";
import { sinceOf } from "../since.ts";

const hidden = "(another project's)";
const maxNamedVictims = 3;

function victimsText({ victims }: Preemption): string {
  const names = victims.map(({ job }) => job ?? hidden);
  return listedUpTo(maxNamedVictims, names);
}

const sum = (entry: Preemption, of: "pods" | "gpus"): number =>
  entry.victims.reduce((total, victim) => total + victim[of], 0);

const columns: readonly Column<Preemption>[] = [
  { title: "AGE", value: ({ decidedAt }) => ageText(decidedAt) },
  { title: "POOL", value: ({ pool }) => pool },
  {
    title: "FOR",
    value: ({ preemptor, rule }) =>
      preemptor ?? (rule === "WindowClosed" ? "(a window closed)" : hidden),
  },
  { title: "RULE", value: ({ rule }) => rule },
  { title: "EVICTED", value: victimsText },
  { title: "PODS", value: (entry) => sum(entry, "pods"), right: true },
  { title: "GPUS", value: (entry) => sum(entry, "gpus"), right: true },
  { title: "OUTCOME", value: ({ outcome }) => outcome ?? "in progress" },
];

const reasonsText = (entries: readonly Preemption[]): string =>
  entries
    .map(({ decidedAt, reason, alternatives }) =>
      [
        `${ageText(decidedAt)} ago: ${printable(reason)}`,
        ...alternatives.map(
          ({ description, pods }) => `  alternative: ${printable(description ?? `${pods} pods`)}`,
        ),
      ].join("\n"),
    )
    .join("\n");

export interface PreemptionOptions {
  readonly since?: string;
  readonly reasons?: boolean;
  readonly limit: number;
}

/** At most `limit` decisions with jobs that the user may see. Throws CliError usage for an invalid `since`. */
export const preemptions =
  ({ since, reasons, limit }: PreemptionOptions) =>
  async ({ api, options }: Session): Promise<View> => {
    const query = { namespace: options.namespace, since: since && sinceOf(since) };
    const items = await api.all<Preemption>("/api/v1/preemptions", query, limit);
    return {
      data: { items },
      text: () =>
        items.length === 0
          ? "No evictions that involve jobs you may see."
          : [table(items, columns), ...(reasons === true ? ["", reasonsText(items)] : [])].join(
              "\n",
            ),
    };
  };
