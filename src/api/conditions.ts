/**
 * The conditions of Rota's custom resources: a table for each kind, and the conditions that follow from it. Pure.
 *
 * They follow the conventions of batch/v1 and kstatus (docs/operations/gitops.md): Ready is always present; all others,
 * such as Reconciling and Stalled, are present only while they are true.
 */
import type { JobStatus } from "./generated.ts";
import type { CommitReason, PlanReason, ProjectReason, Reason } from "./reasons.ts";

/** A metav1.Condition. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
  readonly reason: string;
  readonly message: string;
}

/** What a state means to tools: done, in progress, or stopped until a person changes something. */
export type Health = "Ready" | "Reconciling" | "Stalled";

/** All types that Rota sets, in the order in which they appear in an object. */
const conditionTypes = [
  "Ready",
  "Reconciling",
  "Stalled",
  "Suspended",
  "Admitted",
  "Evicted",
  "Complete",
  "Failed",
  "WindowClosing",
  "PodsStuck",
  "ConfigExpunged",
] as const;

export type ConditionType = (typeof conditionTypes)[number];

type JobCondition = Extract<
  ConditionType,
  "Suspended" | "Admitted" | "Evicted" | "Complete" | "Failed"
>;

export interface JobRow {
  readonly health: Health;
  /** A condition that is true in this state in addition to those of its health. */
  readonly also?: JobCondition;
}

export type JobState = NonNullable<JobStatus["state"]>;

export const jobTable: Readonly<Record<JobState, JobRow>> = {
  Pending: { health: "Reconciling" },
  Reserved: { health: "Reconciling" },
  Starting: { health: "Reconciling", also: "Admitted" },
  Evicted: { health: "Reconciling", also: "Evicted" },
  Running: { health: "Ready", also: "Admitted" },
  Evicting: { health: "Ready", also: "Admitted" },
  Suspended: { health: "Ready", also: "Suspended" },
  Succeeded: { health: "Ready", also: "Complete" },
  Failed: { health: "Stalled", also: "Failed" },
  Cancelled: { health: "Stalled", also: "Failed" },
  Rejected: { health: "Stalled" },
};

export const projectTable = {
  Ready: "Ready",
  ParentNotFound: "Reconciling",
  NamespaceTerminating: "Reconciling",
  StorageTerminating: "Reconciling",
  DeletionBlocked: "Reconciling",
  AwaitingResponse: "Reconciling",
  ReconcileFailed: "Reconciling",
  Terminating: "Reconciling",
  FormerProjectHasJobs: "Reconciling",
  AlreadyExists: "Stalled",
  ClusterRejected: "Stalled",
  NamespaceNotOwned: "Stalled",
  InvalidValue: "Stalled",
  ProjectCycle: "Stalled",
  StorageRejected: "Stalled",
} as const satisfies Readonly<Partial<Record<ProjectReason, Health>>>;

export const planTable = {
  Accepted: "Ready",
  ReconcileFailed: "Reconciling",
  Terminating: "Reconciling",
  InvalidValue: "Stalled",
  InvalidWindow: "Stalled",
  PlanOverlap: "Stalled",
} as const satisfies Readonly<Partial<Record<PlanReason, Health>>>;

export const commitTable = {
  Stored: "Ready",
  AwaitingResponse: "Reconciling",
  ReconcileFailed: "Reconciling",
  Terminating: "Reconciling",
  NoProject: "Reconciling",
  ParentCommitNotFound: "Reconciling",
  ProjectNotFound: "Reconciling",
  AlreadyExists: "Stalled",
  CommitLimitExceeded: "Stalled",
  ContentExpunged: "Stalled",
  InvalidConfiguration: "Stalled",
  InvalidValue: "Stalled",
  TagTaken: "Stalled",
} as const satisfies Readonly<Record<CommitReason, Health>>;

export interface Explanation {
  readonly reason: Reason;
  readonly message: string;
}

/** The parts of an object that its conditions depend on. */
interface Conditioned {
  readonly generation: number;
  readonly status: { readonly conditions?: readonly Condition[] };
}

/** Conditions that are true in addition to those of the health, by type. */
export type TrueConditions = Readonly<Partial<Record<ConditionType, Explanation>>>;

/**
 * All conditions of an object. A condition keeps its lastTransitionTime while its status is unchanged; conditions of
 * types that Rota does not know are kept.
 * @param explanation of Ready, and of Reconciling or Stalled
 */
export function conditionsOf(
  { generation, status }: Conditioned,
  health: Health,
  explanation: Explanation,
  now: Temporal.Instant,
  also: TrueConditions = {},
): Condition[] {
  const former = new Map(status.conditions?.map((condition) => [condition.type, condition]));
  const explanations: TrueConditions = { ...also, Ready: explanation, [health]: explanation };
  const own = conditionTypes.flatMap((type): Condition[] => {
    const found = explanations[type];
    if (found === undefined) return [];
    const value = type === "Ready" && health !== "Ready" ? "False" : "True";
    const before = former.get(type);
    const lastTransitionTime =
      before?.status === value ? before.lastTransitionTime : now.round("second").toString();
    const { reason, message } = found;
    return [
      { type, status: value, observedGeneration: generation, lastTransitionTime, reason, message },
    ];
  });
  const known: ReadonlySet<string> = new Set(conditionTypes);
  return [...own, ...[...former.values()].filter(({ type }) => !known.has(type))];
}

/** The status of an object whose new generation changes nothing but observedGeneration. */
export const observed = <Status extends { readonly conditions?: readonly Condition[] }>({
  generation,
  status,
}: {
  readonly generation: number;
  readonly status: Status;
}): Status => ({
  ...status,
  observedGeneration: generation,
  conditions: status.conditions?.map((condition) => ({
    ...condition,
    observedGeneration: generation,
  })),
});
