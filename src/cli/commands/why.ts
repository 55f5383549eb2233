/** `why JOB`: its status, and the next scheduling decision with the facts behind it. */
import { jobReasonOf, reasonEntry } from "../../api/reasons.ts";
import type { Why } from "../../api/http/schemas.ts";
import { CliError, exitCodes } from "../errors.ts";
import {
  coresNumber,
  coresText,
  counted,
  gibibytesText,
  gpusText,
  memoryText,
  namedAmountText,
  unitText,
} from "../../domain/text.ts";
import { ageText, printable, styled, table, type Column } from "../output.ts";
import { getJob, type Job } from "../resources.ts";
import type { Session, View } from "../session.ts";

type Quota = Why["quotas"][number];
type NodeAnswer = Why["nodes"]["items"][number];
type Candidate = Why["candidates"]["items"][number];

const quotaColumns: readonly Column<Quota>[] = [
  { title: "OWNER", value: ({ owner }) => `${owner.kind} ${owner.name}` },
  { title: "PLANS", value: ({ plans }) => plans.join(", ") },
  {
    title: "GRANTED",
    value: (row) => `${row.quantity} ${unitText(row.resourceType)}`,
    right: true,
  },
  { title: "USED", value: ({ usage }) => usage, right: true },
  { title: "BORROWED", value: ({ borrowed }) => borrowed, right: true },
  { title: "LEAVING", value: ({ leaving }) => leaving, right: true },
  { title: "REQUESTED", value: ({ demand }) => demand, right: true },
  {
    title: "STATUS",
    value: ({ exceeded, opens }) =>
      exceeded ? ["exceeded", ...(opens === null ? [] : [opens])].join("; ") : "fits",
    style: ({ exceeded }) => (exceeded ? "red" : "green"),
  },
];

const nodeColumns: readonly Column<NodeAnswer>[] = [
  { title: "NODE", value: ({ node }) => node },
  { title: "FITS", value: ({ fits }) => fits, right: true },
  { title: "FREE GPUS", value: ({ free }) => free.gpus, right: true },
  { title: "FREE CPU", value: ({ free }) => coresNumber(free.cpuMillis), right: true },
  { title: "FREE MEMORY", value: ({ free }) => gibibytesText(free.memoryBytes), right: true },
  {
    title: "WHY NOT",
    value: ({ rejection, message }) => (rejection === null ? "" : `${rejection}: ${message ?? ""}`),
    flexible: true,
  },
];

const candidateColumns: readonly Column<Candidate>[] = [
  { title: "JOB", value: ({ job }) => job ?? "(another project's)" },
  { title: "PRIORITY", value: ({ priority }) => priority, right: true },
  { title: "GPUS", value: ({ gpus }) => gpus, right: true },
  { title: "PODS", value: ({ pods }) => pods, right: true },
  { title: "NODES", value: ({ nodes }) => nodes.join(", ") },
  { title: "RULE", value: ({ rule }) => rule },
  {
    title: "NEXT DECISION",
    value: ({ chosen }) => (chosen ? "evicts it" : "keeps it"),
    style: ({ chosen }) => (chosen ? "yellow" : undefined),
  },
];

function demandText({ parallelism, perPod }: Why): string {
  const parts = [
    ...(perPod.gpus > 0 ? [gpusText(perPod.gpus)] : []),
    coresText(perPod.cpuMillis),
    `${memoryText(perPod.memoryBytes)} of memory`,
    ...Object.entries(perPod.byName ?? {}).map(([name, amount]) => namedAmountText(name, amount)),
  ];
  return `${counted(parallelism, "pod")} of ${parts.join(", ")}`;
}

const waitingStates: ReadonlySet<string> = new Set(["Pending", "Evicted"]);

function headText(why: Why): string[] {
  const place = why.position === null ? "" : `, position ${why.position}`;
  const state = why.suspended && waitingStates.has(why.state) ? "Suspended" : why.state;
  return [
    `${styled("bold", `${why.namespace}/${why.name}`)}  ${state}  pool ${why.pool}${place}`,
    `priority ${why.priority} (${why.priorityClass || "no class"}), ${demandText(why)}, queued ${ageText(why.queuedAt)} ago`,
  ];
}

/** The remedy of the reference page; nothing where Rota continues by itself. */
function cureText(reason: string): string[] {
  const known = jobReasonOf(reason);
  const cure = known === undefined ? "" : reasonEntry(known).cure.replace(/^Nothing; /, "");
  if (cure === "" || cure.startsWith("Nothing:")) return [];
  return [`What you can do: ${cure.charAt(0).toLowerCase()}${cure.slice(1)}`];
}

const verdictWords = {
  admit: "starts",
  activate: "starts on its reserved capacity",
  release: "releases its reservation",
  preempt: "evicts other jobs",
  wait: "waits",
} as const;

function verdictText({ verdict, isBeyondClaim }: Why, said: string): string[] {
  if (!verdict) return [];
  const how = verdict.borrowing === true ? ", borrowing" : "";
  const where = verdict.placements.map(({ node, pods }) => `${node} (${pods})`).join(", ");
  const reason = verdict.reason === null ? "" : ` (${verdict.reason})`;
  return [
    "",
    `Next decision: it ${verdictWords[verdict.kind]}${how}${reason}${where === "" ? "" : ` on ${where}`}`,
    ...(verdict.message === null || verdict.message === said ? [] : [printable(verdict.message)]),
    ...(isBeyondClaim
      ? ["Too many jobs are ahead of it: the scheduler does not consider it yet."]
      : []),
  ];
}

/** Only the leader checks budgets, against the API server: the verdict above ignores them. */
const budgetNote = ({ verdict }: Why, job: Job | undefined): string[] =>
  job?.status.reason === "BlockedByDisruptionBudget" && verdict?.kind === "preempt"
    ? [
        "The API server recently denied these evictions because of the PodDisruptionBudget in the message: the job waits until the budget allows them.",
      ]
    : [];

function section<Row>(
  title: string,
  rows: readonly Row[],
  total: number,
  columns: readonly Column<Row>[],
): string[] {
  if (rows.length === 0) return [];
  const shown = rows.length < total ? ` (${rows.length} of ${total} shown)` : "";
  return ["", styled("bold", `${title}${shown}`), table(rows, columns)];
}

/** Of a job that waits again after an eviction, the API's message is the decision's reason. */
const evictionText = ({ state, message }: Why): string[] =>
  state === "Evicted" && message !== null ? [`Evicted: ${printable(message)}`] : [];

const nodesTitle = ({ nodes }: Why): string =>
  `Nodes: ${nodes.accepting}/${nodes.total} match the job`;

/** Callers who may not list nodes are told their number. */
function nodesSection(why: Why): string[] {
  const { items, total } = why.nodes;
  if (items.length > 0) return section(nodesTitle(why), items, items.length, nodeColumns);
  return total > 0 ? ["", `${nodesTitle(why)} (details need permission to list nodes)`] : [];
}

/** The answer of /why as text; the job's own status takes precedence for the message. */
export function whyText(why: Why, job: Job | undefined): string {
  const said = job?.status.message ?? why.message ?? "";
  const reason = job?.status.reason ?? why.reason ?? "";
  const placed = why.placements.map(({ node, pods }) => `${node} (${pods})`).join(", ");
  return [
    ...headText(why),
    ...(said === "" ? [] : [`${reason}: ${printable(said)}`]),
    ...evictionText(why),
    ...cureText(reason),
    ...(placed === "" ? [] : [`on ${placed}`]),
    ...verdictText(why, said),
    ...budgetNote(why, job),
    ...section("Plans", why.quotas, why.quotas.length, quotaColumns),
    ...nodesSection(why),
    ...section(
      "Jobs that it may evict",
      why.candidates.items,
      why.candidates.total,
      candidateColumns,
    ),
  ].join("\n");
}

/** For a finished job, and without an operator. */
function statusText({ metadata, status }: Job): string {
  const { state = "New", reason = "", message = "" } = status;
  return [
    `${styled("bold", `${metadata.namespace}/${metadata.name}`)}  ${state}`,
    `${reason}: ${printable(message)}`,
    ...cureText(reason),
  ].join("\n");
}

const ended = new Set(["Succeeded", "Failed", "Cancelled", "Rejected"]);

/** @param name NAME or NAMESPACE/NAME; without an operator the result is the job's status, with a warning */
export const why =
  (name: string) =>
  async ({ connection, namespace, api }: Session): Promise<View> => {
    const key = name.includes("/") ? name : `${namespace}/${name}`;
    const job = await getJob(connection.client, key);
    if (ended.has(job.status.state ?? "")) {
      return { data: { status: job.status }, text: () => statusText(job) };
    }
    const [where = "", called = ""] = key.split("/");
    try {
      const path = `/api/v1/namespaces/${encodeURIComponent(where)}/jobs/${encodeURIComponent(called)}/why`;
      const answer = await api.get<Why>(path);
      return { data: answer, text: () => whyText(answer, job) };
    } catch (error) {
      if (!(error instanceof CliError) || error.exitCode === exitCodes.usage) throw error;
      return {
        data: { status: job.status },
        text: () => statusText(job),
        warning: `only the job's status is known, not its plans, nodes and the next decision: ${error.message}`,
      };
    }
  };
