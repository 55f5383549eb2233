/**
 * Every reason that a condition or an event can have, with what it means and what to do. docs/reference/reasons.md is made
 * from this table, and a condition with a reason that is not in it does not compile. Alphabetical.
 */

export type ReasonKind = "Project" | "ResourcePlan" | "Job" | "ConfigCommit";

interface ReasonEntry {
  /** The resources that can show it. */
  readonly kinds: readonly ReasonKind[];
  readonly meaning: string;
  /** What a person can do; "Nothing" where Rota goes on by itself. */
  readonly cure: string;
}

const nothing = "Nothing: Rota goes on by itself.";

export const reasons = {
  Accepted: {
    kinds: ["ResourcePlan"],
    meaning: "The plan is in force as it is written.",
    cure: nothing,
  },
  Admitted: {
    kinds: ["Job"],
    meaning: "The job has its nodes; its pods are being created.",
    cure: nothing,
  },
  AlreadyExists: {
    kinds: ["Project", "ConfigCommit"],
    meaning: "The namespace belongs to another project, or the commit's name is taken.",
    cure: "Choose another namespace or name, or delete the other object.",
  },
  BehindHeadOfQueue: {
    kinds: ["Job"],
    meaning: "A job before it keeps the space it would need.",
    cure: "Nothing; ask for less, or for another pool, to start sooner.",
  },
  Borrowing: {
    kinds: ["Job"],
    meaning: "The job runs outside its plans and can be evicted for entitled jobs.",
    cure: "Nothing; a plan that grants what it uses makes it entitled.",
  },
  Cancelled: {
    kinds: ["Job"],
    meaning: "The job was ended before its pods did.",
    cure: "Submit it again if it was not meant to end.",
  },
  ClusterRejected: {
    kinds: ["Project"],
    meaning: "The API server does not accept the namespace or a RoleBinding of the project.",
    cure: "Change what its words in the message name: a quota, an admission policy, a field.",
  },
  Completed: { kinds: ["Job"], meaning: "All pods ended with status 0.", cure: nothing },
  ConfigNotFound: {
    kinds: ["Job"],
    meaning: "spec.configRef names no stored ConfigCommit of the namespace.",
    cure: "Create the commit, or submit the job with the name or tag of one that is Stored.",
  },
  InvalidConfiguration: {
    kinds: ["ConfigCommit"],
    meaning: "The content has no canonical form, or is larger than a ConfigMap can hold.",
    cure: "Create a commit whose content keeps to the limit that the message names.",
  },
  ParentCommitNotFound: {
    kinds: ["ConfigCommit"],
    meaning: "spec.parent names no stored commit of the namespace.",
    cure: "Create the parent first; this commit is then stored by itself.",
  },
  Deleted: { kinds: ["Job"], meaning: "The Job was deleted; its pods are gone.", cure: nothing },
  DeletionBlocked: {
    kinds: ["Project"],
    meaning:
      "The project is being deleted and waits for the children and jobs that the message names.",
    cure: "Delete or move the children, delete the jobs or let them end.",
  },
  WithinQuota: { kinds: ["Job"], meaning: "The job runs inside its plans.", cure: nothing },
  Evicted: {
    kinds: ["Job"],
    meaning: "The job made way for another one and waits with its old place in the queue.",
    cure: nothing,
  },
  Evicting: {
    kinds: ["Job"],
    meaning: "The job's pods are asked to leave for the job that the message names.",
    cure: nothing,
  },
  EvictionBlocked: {
    kinds: ["Job"],
    meaning:
      "The job is to make way, and a PodDisruptionBudget that has closed since does not let its pods go.",
    cure: "Nothing, if the budget is meant: the eviction is asked for again. Else change or delete the budget that the message names.",
  },
  Failed: {
    kinds: ["Job"],
    meaning: "The job failed more often than spec.backoffLimit allows.",
    cure: "Read the pods' logs, and submit a mended job.",
  },
  Reserved: {
    kinds: ["Job"],
    meaning: "Capacity is kept for the job while its victims leave.",
    cure: nothing,
  },
  GangServiceConflict: {
    kinds: ["Job"],
    meaning:
      "The namespace has a Service rota-gang that is not Rota's, so the pods of gangs have no host names.",
    cure: "Delete that Service or give it another name; Rota makes its own with the next gang.",
  },
  ReservationExpired: {
    kinds: ["Job"],
    meaning: "The victims did not leave in time; the kept capacity was given back.",
    cure: "Nothing; look at pods that do not end if it happens again.",
  },
  MaxRuntimeExceeded: {
    kinds: ["Job"],
    meaning: "The attempt ran longer than spec.maxRuntime and was stopped.",
    cure: "Submit the job with a longer maxRuntime, or make it save its progress.",
  },
  NamespaceAdopted: {
    kinds: ["Project"],
    meaning: "A namespace that was there already was handed over to the project.",
    cure: nothing,
  },
  NamespaceRetained: {
    kinds: ["Project"],
    meaning: "The project is gone; its namespace stays because it holds data or was handed over.",
    cure: "Create a project of the same name to take it over, or delete the namespace by hand.",
  },
  NamespaceNotOwned: {
    kinds: ["Project"],
    meaning: "A namespace of that name is there and is not this project's.",
    cure: "Hand it over with the annotation that the message names, or set spec.namespace.",
  },
  NamespaceTerminating: {
    kinds: ["Project"],
    meaning: "The namespace is being deleted; it is made again when it is gone.",
    cure: "Nothing; if it does not go, look at the finalizers of what is in it.",
  },
  NoMatchingNode: {
    kinds: ["Job"],
    meaning:
      "No node of the pool accepts the template's node selector, affinity and tolerations, or those that do failed to start the job's pods lately and are avoided for a while.",
    cure: "Change the template or the nodes' labels and taints; of avoided nodes, find out why the pods did not start.",
  },
  NoQuota: {
    kinds: ["Job"],
    meaning: "No plan grants what the job asks for, and it may not borrow.",
    cure: "Create a plan for one of the project's owners, or allow borrowing.",
  },
  NoProject: {
    kinds: ["Job", "ConfigCommit"],
    meaning: "The namespace belongs to no Project.",
    cure: "Create a Project with this namespace, or submit in a project's namespace.",
  },
  InsufficientCapacity: {
    kinds: ["Job"],
    meaning: "No node has room for the job now; the message has the numbers.",
    cure: "Nothing; ask for less per pod, or a higher priority class, to start sooner.",
  },
  NodeGone: {
    kinds: ["Job"],
    meaning: "A node whose capacity was kept for the job left the cluster.",
    cure: nothing,
  },
  NodeLost: {
    kinds: ["Job"],
    meaning: "A node left the cluster with pods of the gang; the gang queues again.",
    cure: "Nothing; it does not count as a failure.",
  },
  NodeUnavailable: {
    kinds: ["Job"],
    meaning: "A node whose capacity was kept for the job takes no pods any more.",
    cure: nothing,
  },
  QuotaExceeded: {
    kinds: ["Job"],
    meaning: "What the plan grants now is in use, and the job may not borrow.",
    cure: "Nothing; a larger plan or allowed borrowing lets it start sooner.",
  },
  ParentNotFound: {
    kinds: ["Project"],
    meaning: "spec.parent names no project that is accepted.",
    cure: "Create the parent, mend it, or name another one.",
  },
  PlanOverlap: {
    kinds: ["ResourcePlan"],
    meaning: "The plan overlaps another one of the same owner, type and pool.",
    cure: "Change the windows of one of the two plans; the message names the other one.",
  },
  InvalidWindow: {
    kinds: ["ResourcePlan"],
    meaning: "A window is empty or not inside the week.",
    cure: "Change spec.timeWindows.",
  },
  InvalidValue: {
    kinds: ["ResourcePlan", "Job"],
    meaning: "A value is out of range.",
    cure: "Change the field that the message names.",
  },
  PodDisrupted: {
    kinds: ["Job"],
    meaning:
      "The cluster ended pods of the gang: their node is gone, under pressure, or drained; the gang queues again.",
    cure: "Nothing; it does not count as a failure.",
  },
  PodFailed: {
    kinds: ["Job"],
    meaning: "A pod failed, and with it the attempt of the whole gang.",
    cure: "Read the pod's logs; spec.backoffLimit says how often the gang is started again.",
  },
  PodsLost: {
    kinds: ["Job"],
    meaning: "Pods of the gang were deleted by somebody else; the gang queues again.",
    cure: "Nothing; find out who deletes pods if it happens again.",
  },
  PodsPending: {
    kinds: ["Job"],
    meaning:
      "The job has its nodes, and some of its pods have not run for a while; the message names them and what they wait for.",
    cure: "Look at the pods and nodes that the message names: images, volumes and kube-scheduler's words are the usual causes.",
  },
  PodsStuck: {
    kinds: ["Job"],
    meaning:
      "Pods of the gang should have ended and are still there; their space stays in use until they are gone.",
    cure: "Look at the node that the message names; a pod on a node that is lost is deleted with --force.",
  },
  PodsRejected: {
    kinds: ["Job"],
    meaning: "The API server refused the pods though it took the template when the job was queued.",
    cure: "Read the message: a raised Pod Security level or a new policy needs another job, a quota needs room.",
  },
  PoolNotFound: {
    kinds: ["Job"],
    meaning: "No node is in the pool that spec.pool names.",
    cure: "Label nodes with rota.dev/pool, or submit the job for one of the pools named.",
  },
  Preempted: {
    kinds: ["Job"],
    meaning: "The job was evicted for the job that the message names.",
    cure: "Nothing; it queues again with its old place.",
  },
  PriorityClassNotAllowed: {
    kinds: ["Job"],
    meaning: "The project does not allow the priority class.",
    cure: "Use one of the classes named, or have spec.priorityClasses of the project changed.",
  },
  PriorityClassNotFound: {
    kinds: ["Job"],
    meaning: "spec.priorityClassName names no PriorityClass of the cluster.",
    cure: "Create the class, or use one of those named.",
  },
  ProjectCycle: {
    kinds: ["Project"],
    meaning: "spec.parent lies below the project itself.",
    cure: "Name another parent; the project stays where it was until then.",
  },
  ProjectNotFound: {
    kinds: ["Job", "ConfigCommit"],
    meaning: "The project of the namespace was deleted a moment ago.",
    cure: "Create the project again, or delete this object.",
  },
  Queued: {
    kinds: ["Job"],
    meaning: "The job waits for the next scheduling cycle.",
    cure: nothing,
  },
  Ready: {
    kinds: ["Project"],
    meaning: "Namespace, roles and storages are as specified.",
    cure: nothing,
  },
  Resumed: {
    kinds: ["Job"],
    meaning: "spec.suspend is false again: the job is back in the queue.",
    cure: nothing,
  },
  Running: { kinds: ["Job"], meaning: "All pods run.", cure: nothing },
  CapacityReserved: {
    kinds: ["Job"],
    meaning: "There is room, but it is kept for a job before this one.",
    cure: nothing,
  },
  AwaitingRelease: {
    kinds: ["Job"],
    meaning: "The room it needs is being freed: pods are on their way out.",
    cure: nothing,
  },
  Restored: {
    kinds: ["Job"],
    meaning:
      "The database was brought back to an earlier state; what was kept for the job is given back.",
    cure: nothing,
  },
  EvictionCancelled: {
    kinds: ["Job"],
    meaning:
      "The job was to make way, and none of its pods had left. Nobody needs its room any more, or a window closed and a PodDisruptionBudget does not let it go: it runs on.",
    cure: nothing,
  },
  Started: { kinds: ["Job"], meaning: "All pods of the gang run.", cure: nothing },
  StartDeadlineExceeded: {
    kinds: ["Job"],
    meaning: "Not all pods ran within ROTA_START_DEADLINE_SECONDS; the gang is placed anew.",
    cure: "Look at the events of the pods: images, volumes and admission are the usual causes.",
  },
  StorageRejected: {
    kinds: ["Project"],
    meaning: "A storage cannot become what the project asks for; the others are as specified.",
    cure: "Change the field that the message names: a claim can grow, and nothing else.",
  },
  StorageTerminating: {
    kinds: ["Project"],
    meaning: "The claim of a storage is being deleted; it is created again when it is gone.",
    cure: "Nothing; if it does not go, delete the pods that use it.",
  },
  StorageNotFound: {
    kinds: ["Job"],
    meaning: "spec.storages names a storage that the project does not have.",
    cure: "Add it to the project, or submit the job with one of those named.",
  },
  Stored: {
    kinds: ["ConfigCommit"],
    meaning: "The content is in the database, once per hash.",
    cure: nothing,
  },
  Suspended: {
    kinds: ["Job"],
    meaning: "spec.suspend is true: the job waits, and does not run.",
    cure: "Set spec.suspend to false.",
  },
  TagTaken: {
    kinds: ["ConfigCommit"],
    meaning: "Another commit of the project has the tag.",
    cure: "Create the commit with another tag, or delete the other commit.",
  },
  TemplateRejected: {
    kinds: ["Job"],
    meaning: "The API server does not accept a pod of spec.template.",
    cure: "Submit the job with the field mended that the message names.",
  },
  TooLargeForPool: {
    kinds: ["Job"],
    meaning: "The pool could not hold the job even if it were empty.",
    cure: "Ask for less per pod or fewer pods, or use a pool with larger nodes.",
  },
  WaitingForPreemption: {
    kinds: ["Job"],
    meaning: "Capacity is kept for the job on the nodes named while its victims leave.",
    cure: nothing,
  },
  BlockedByDisruptionBudget: {
    kinds: ["Job"],
    meaning: "PodDisruptionBudgets protect the pods that would have to leave.",
    cure: "Nothing; the message names the budget.",
  },
  WindowClosed: {
    kinds: ["Job"],
    meaning:
      "The plan's window is closed: the job waits, or, where it ran past a plan with onWindowClose Evict, it leaves after the grace period.",
    cure: "Nothing; the message says when the window opens.",
  },
  WindowClosesSoon: {
    kinds: ["Job", "ResourcePlan"],
    meaning:
      "A window closes soon: of a plan that will then grant less than is in use, or of the plan that will then evict the job.",
    cure: "Save the progress of jobs before the time that the message names, or change the plan.",
  },
  WindowTooShort: {
    kinds: ["Job"],
    meaning: "The job could not end before its plan's window closes and evicts.",
    cure: "Submit it with a shorter maxRuntime to start before the close.",
  },
} as const satisfies Readonly<Record<string, ReasonEntry>>;

export type Reason = keyof typeof reasons;

/** The reasons that objects of a kind can show. */
export type ReasonOf<Kind extends ReasonKind> = {
  [Name in Reason]: Kind extends (typeof reasons)[Name]["kinds"][number] ? Name : never;
}[Reason];

export type ProjectReason = ReasonOf<"Project">;
export type PlanReason = ReasonOf<"ResourcePlan">;
export type JobReason = ReasonOf<"Job">;
export type CommitReason = ReasonOf<"ConfigCommit">;

export const reasonEntry = (reason: Reason): ReasonEntry => reasons[reason];

/** A reason read back from the database; undefined when another version of Rota wrote it. */
export function jobReasonOf(text: string | null): JobReason | undefined {
  const known = text !== null && Object.hasOwn(reasons, text) ? (text as Reason) : undefined;
  if (known === undefined || !reasonEntry(known).kinds.includes("Job")) return undefined;
  return known as JobReason;
}
