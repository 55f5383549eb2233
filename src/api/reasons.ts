/**
 * All reasons of conditions and events, in alphabetical order: what each means and what to do about it. The source of
 * docs/reference/reasons.md; a condition with a reason that is not in this table does not compile.
 */

export type ReasonKind = "Project" | "ResourcePlan" | "Job" | "ConfigCommit";

interface ReasonEntry {
  /** The resources whose conditions and events use it. */
  readonly kinds: readonly ReasonKind[];
  readonly meaning: string;
  /** What a user or administrator can do. Begins with "Nothing" if Rota proceeds without them. */
  readonly cure: string;
}

const nothing = "Nothing: Rota proceeds automatically.";

export const reasons = {
  Accepted: { kinds: ["ResourcePlan"], meaning: "The plan is in force.", cure: nothing },
  Admitted: {
    kinds: ["Job"],
    meaning: "The job is assigned to nodes and its pods are being created.",
    cure: nothing,
  },
  AlreadyExists: {
    kinds: ["Project", "ConfigCommit"],
    meaning: "The namespace belongs to another project, or the name of the commit is taken.",
    cure: "Choose another namespace or name, or delete the other object.",
  },
  AwaitingNodes: {
    kinds: ["Job"],
    meaning:
      "The job would fit on nodes that are not available now: they are cordoned, not ready or under pressure, their devices are unhealthy, or they recently failed to start the pods of the job and are avoided for a while.",
    cure: "Check the nodes named in the message; for avoided nodes, find out why the pods did not start.",
  },
  AwaitingRelease: {
    kinds: ["Job"],
    meaning: "The capacity that the job needs is being released: pods are terminating.",
    cure: nothing,
  },
  AwaitingResponse: {
    kinds: ["Job", "Project", "ConfigCommit"],
    meaning: "The API server, a webhook or the database has not responded for some seconds.",
    cure: "Nothing if it is temporary; otherwise check the admission webhooks of the cluster, and the database.",
  },
  BehindHeadOfQueue: {
    kinds: ["Job"],
    meaning: "A job ahead in the queue reserves the quota that this job needs.",
    cure: "Nothing; request less, or use another pool, to start sooner.",
  },
  BlockedByDisruptionBudget: {
    kinds: ["Job"],
    meaning: "PodDisruptionBudgets protect the pods that would have to be evicted.",
    cure: "Nothing; the message names the budget.",
  },
  EvictionRefused: {
    kinds: ["Job"],
    meaning:
      "The API server refuses to evict the jobs that would have to go: an admission webhook or policy says no or fails. The operator's log has its answer.",
    cure: "Ask an administrator to mend or to exempt what refuses evictions.",
  },
  Borrowing: {
    kinds: ["Job"],
    meaning: "The job runs over quota and can be evicted for jobs within quota.",
    cure: "Nothing; a plan that covers its usage brings it within quota.",
  },
  Cancelled: {
    kinds: ["Job"],
    meaning: "The job was stopped before its pods completed.",
    cure: "Submit the job again if it was stopped by mistake.",
  },
  CapacityReserved: {
    kinds: ["Job"],
    meaning: "The job would fit, but the capacity is reserved for a job ahead of it.",
    cure: nothing,
  },
  ClusterRejected: {
    kinds: ["Project"],
    meaning: "The API server rejects the namespace or a RoleBinding of the project.",
    cure: "Fix the quota, admission policy or field named in the message.",
  },
  CommitLimitExceeded: {
    kinds: ["ConfigCommit"],
    meaning: "The project has as many commits, or as large contents, as it may have.",
    cure: "Delete commits that nobody needs; they count until they are pruned. Or ask the administrator for a higher limit.",
  },
  Completed: { kinds: ["Job"], meaning: "All pods exited with status 0.", cure: nothing },
  ConfigNotFound: {
    kinds: ["Job"],
    meaning: "spec.configRef does not name a stored ConfigCommit of the namespace.",
    cure: "Create the commit, or submit the job with the name or tag of a commit that is Stored.",
  },
  ContentExpunged: {
    kinds: ["Job", "ConfigCommit"],
    meaning:
      "An administrator expunged the content of the configuration; the message says who, when and why. It is refused from then on, and jobs that need it cannot start.",
    cure: "Create a commit without the content in question, and a new job with it.",
  },
  Deleted: { kinds: ["Job"], meaning: "The Job was deleted and its pods are gone.", cure: nothing },
  DeletionBlocked: {
    kinds: ["Project"],
    meaning: "The deletion of the project waits for the children and jobs named in the message.",
    cure: "Delete or move the children; delete the jobs or wait until they finish.",
  },
  Evicted: {
    kinds: ["Job"],
    meaning: "The job was evicted for another job and is queued with its original queue time.",
    cure: nothing,
  },
  Evicting: {
    kinds: ["Job"],
    meaning: "The pods of the job are being evicted for the job named in the message.",
    cure: nothing,
  },
  EvictionBlocked: {
    kinds: ["Job"],
    meaning:
      "The job is to be evicted, but a PodDisruptionBudget has since blocked the eviction of its pods.",
    cure: "Nothing if the budget is intended: Rota retries the eviction. Otherwise change or delete the budget named in the message.",
  },
  EvictionCancelled: {
    kinds: ["Job"],
    meaning:
      "The eviction was cancelled before any pod had terminated: the capacity is no longer needed, or a PodDisruptionBudget blocks an eviction at the close of a window. The job continues to run.",
    cure: nothing,
  },
  Failed: {
    kinds: ["Job"],
    meaning: "The job failed more often than spec.backoffLimit allows.",
    cure: "Read the logs of the pods, fix the job and submit it again.",
  },
  FormerProjectHasJobs: {
    kinds: ["Project"],
    meaning:
      "The project was made again under its name, and jobs of the former one have not ended yet.",
    cure: "Nothing, or delete the jobs named in the message.",
  },
  GangServiceConflict: {
    kinds: ["Job"],
    meaning:
      "The namespace has a Service rota-gang that Rota did not create, so the pods of gangs have no host names.",
    cure: "Delete or rename that Service; Rota creates its own with the next gang.",
  },
  InsufficientCapacity: {
    kinds: ["Job"],
    meaning: "No node has enough free capacity; the message has the numbers.",
    cure: "Nothing; request less per pod, or use a higher priority class, to start sooner.",
  },
  InvalidConfiguration: {
    kinds: ["ConfigCommit"],
    meaning: "The content has no canonical form or exceeds the size of a ConfigMap.",
    cure: "Create a commit whose content respects the limit named in the message.",
  },
  InvalidValue: {
    kinds: ["Project", "ResourcePlan", "Job", "ConfigCommit"],
    meaning: "A value is out of range.",
    cure: "Fix the field named in the message.",
  },
  InvalidWindow: {
    kinds: ["ResourcePlan"],
    meaning: "A window is empty or does not lie within the week.",
    cure: "Fix spec.timeWindows.",
  },
  MaxRuntimeExceeded: {
    kinds: ["Job"],
    meaning: "The attempt ran longer than spec.maxRuntime and was stopped.",
    cure: "Submit the job with a longer maxRuntime, or let it save checkpoints.",
  },
  NamespaceAdopted: {
    kinds: ["Project"],
    meaning: "The project took over an existing namespace.",
    cure: nothing,
  },
  NamespaceNotOwned: {
    kinds: ["Project"],
    meaning: "A namespace with this name exists and does not belong to the project.",
    cure: "Allow the adoption with the annotation named in the message, or set spec.namespace.",
  },
  NamespaceRetained: {
    kinds: ["Project"],
    meaning:
      "The project was deleted. Its namespace is retained because it contains data or was adopted.",
    cure: "Create a project with the same name to take it over, or delete the namespace.",
  },
  NamespaceTerminating: {
    kinds: ["Project"],
    meaning: "The namespace is being deleted. Rota creates it again afterwards.",
    cure: "Nothing; if it does not terminate, check the finalizers of the objects in it.",
  },
  NoMatchingNode: {
    kinds: ["Job"],
    meaning:
      "No node of the pool matches the node selector, affinity and tolerations of the template.",
    cure: "Change the template, or the labels and taints of the nodes.",
  },
  NoProject: {
    kinds: ["Job", "ConfigCommit"],
    meaning: "The namespace does not belong to a Project.",
    cure: "Create a Project with this namespace, or submit in the namespace of a project.",
  },
  NoQuota: {
    kinds: ["Job"],
    meaning: "No plan grants the resources that the job requests, and it may not borrow.",
    cure: "Create a plan for one of the project's owners, or allow borrowing.",
  },
  NodeGone: {
    kinds: ["Job"],
    meaning: "A node with reserved capacity for the job left the cluster.",
    cure: nothing,
  },
  NodeLost: {
    kinds: ["Job"],
    meaning: "A node with pods of the gang left the cluster. The job is queued again.",
    cure: "Nothing; it does not count as a failure.",
  },
  NodeUnavailable: {
    kinds: ["Job"],
    meaning: "A node with reserved capacity for the job no longer accepts pods.",
    cure: nothing,
  },
  ParentCommitNotFound: {
    kinds: ["ConfigCommit"],
    meaning: "spec.parent does not name a stored commit of the namespace.",
    cure: "Create the parent; this commit is then stored automatically.",
  },
  ParentNotFound: {
    kinds: ["Project"],
    meaning: "spec.parent does not name an accepted project.",
    cure: "Create or fix the parent, or name another one.",
  },
  PlanOverlap: {
    kinds: ["ResourcePlan"],
    meaning: "The plan overlaps another plan of the same owner, type and pool.",
    cure: "Change the windows of one of the two plans; the message names the other one.",
  },
  PodDisrupted: {
    kinds: ["Job"],
    meaning:
      "The cluster terminated pods of the gang because their node was lost, under pressure or drained. The job is queued again.",
    cure: "Nothing; it does not count as a failure.",
  },
  PodFailed: {
    kinds: ["Job"],
    meaning: "A pod failed, and with it the attempt of the whole gang.",
    cure: "Read the logs of the pod; spec.backoffLimit limits the number of further attempts.",
  },
  PodsLost: {
    kinds: ["Job"],
    meaning: "Pods of the gang were deleted by another client. The job is queued again.",
    cure: "Nothing; find out which client deletes pods if it happens again.",
  },
  PodsPending: {
    kinds: ["Job"],
    meaning:
      "The job is assigned to nodes, but some of its pods do not start; the message names them and what they wait for.",
    cure: "Check the pods and nodes named in the message. Common causes are images, volumes and kube-scheduler constraints.",
  },
  PodsRejected: {
    kinds: ["Job"],
    meaning:
      "The API server rejects the pods although it accepted the template when the job was queued.",
    cure: "Read the message: a stricter Pod Security level or policy requires a changed job, an exhausted quota requires free quota.",
  },
  PodsStuck: {
    kinds: ["Job"],
    meaning: "Pods of the gang do not terminate; their capacity stays in use until they are gone.",
    cure: "Check the node named in the message. Delete pods on a lost node with --force.",
  },
  PoolNotFound: {
    kinds: ["Job"],
    meaning: "The pool named by spec.pool has no nodes.",
    cure: "Label nodes with rota.dev/pool, or submit the job to one of the pools named in the message.",
  },
  Preempted: {
    kinds: ["Job"],
    meaning: "The job was preempted by the job named in the message.",
    cure: "Nothing; it is queued again with its original queue time.",
  },
  PriorityClassNotAllowed: {
    kinds: ["Job"],
    meaning: "The project does not allow the priority class.",
    cure: "Use one of the classes named in the message, or have spec.priorityClasses of the project changed.",
  },
  PriorityClassNotFound: {
    kinds: ["Job"],
    meaning: "spec.priorityClassName does not name a PriorityClass of the cluster.",
    cure: "Create the class, or use one of those named in the message.",
  },
  ProjectCycle: {
    kinds: ["Project"],
    meaning: "spec.parent is a descendant of the project.",
    cure: "Name another parent. Until then the project keeps its place in the tree.",
  },
  ProjectNotFound: {
    kinds: ["Job", "ConfigCommit"],
    meaning: "The project of the namespace has just been deleted.",
    cure: "Create the project again, or delete this object.",
  },
  Queued: {
    kinds: ["Job"],
    meaning: "The job waits for the next scheduling cycle.",
    cure: nothing,
  },
  QuotaExceeded: {
    kinds: ["Job"],
    meaning:
      "The quota of the plan is in use, and the job may not borrow; or a ResourceQuota of the namespace has no room for the job.",
    cure: "Nothing; a larger plan, or permission to borrow, lets it start sooner. If the message says that a ResourceQuota holds at most less than the job needs, raise it, or request less.",
  },
  Ready: {
    kinds: ["Project"],
    meaning: "Namespace, roles and storages match the specification.",
    cure: nothing,
  },
  ReconcileFailed: {
    kinds: ["Project", "ResourcePlan", "Job", "ConfigCommit"],
    meaning:
      "The last attempt to process the object failed, or a part of it; the message has the words of the API server or the database. Rota retries.",
    cure: "Nothing if it is temporary; otherwise repair what the message names, such as an admission webhook or a missing right of the operator.",
  },
  ReservationExpired: {
    kinds: ["Job"],
    meaning: "The victims did not terminate in time, so the reservation was released.",
    cure: "Nothing; check for pods that do not terminate if it happens again.",
  },
  RejectedByKubelet: {
    kinds: ["Job"],
    meaning:
      "A kubelet rejected a pod of the gang: it no longer has the devices, the CPU or the labels for it. The gang is placed again without that node.",
    cure: nothing,
  },
  Reserved: {
    kinds: ["Job"],
    meaning: "Capacity is reserved for the job while its victims terminate.",
    cure: nothing,
  },
  Restored: {
    kinds: ["Job"],
    meaning:
      "The database was restored to an earlier state, so the reservation of the job was released.",
    cure: nothing,
  },
  Resumed: {
    kinds: ["Job"],
    meaning: "spec.suspend is false again: the job is queued.",
    cure: nothing,
  },
  Running: { kinds: ["Job"], meaning: "All pods are running.", cure: nothing },
  StartDeadlineExceeded: {
    kinds: ["Job"],
    meaning:
      "Not all pods were running within ROTA_START_DEADLINE_SECONDS, init containers aside. The gang is placed again: on other nodes, or after a pause if its image or configuration is wrong.",
    cure: "Fix what the message names, then suspend and resume the job: that ends the pause. Common causes are images, Secrets and ConfigMaps that are missing, and volumes.",
  },
  StartFailed: {
    kinds: ["Job"],
    meaning: "ROTA_MAX_FAILED_STARTS starts in a row have failed because of the job itself.",
    cure: "Fix what the message names and submit the job again.",
  },
  Started: { kinds: ["Job"], meaning: "All pods of the gang are running.", cure: nothing },
  StorageNotFound: {
    kinds: ["Job"],
    meaning: "spec.storages names a storage that the project does not have.",
    cure: "Add the storage to the project, or submit the job with one of those named in the message.",
  },
  StorageRejected: {
    kinds: ["Project"],
    meaning: "A storage cannot be changed as specified; the others match the specification.",
    cure: "Fix the field named in the message. Of an existing claim, only the size can grow.",
  },
  StorageTerminating: {
    kinds: ["Project"],
    meaning: "A claim of the project is being deleted. Rota creates it again afterwards.",
    cure: "Nothing; if it does not terminate, check the pods that use it.",
  },
  Stored: {
    kinds: ["ConfigCommit"],
    meaning: "The content is stored in the database, once per hash.",
    cure: nothing,
  },
  Suspended: {
    kinds: ["Job"],
    meaning: "spec.suspend is true: the job is not started.",
    cure: "Set spec.suspend to false.",
  },
  TagTaken: {
    kinds: ["ConfigCommit"],
    meaning: "Another commit of the project has the tag.",
    cure: "Create the commit with another tag, or delete the other commit.",
  },
  TemplateRejected: {
    kinds: ["Job"],
    meaning: "The API server rejects a pod created from spec.template.",
    cure: "Fix the field named in the message and resubmit.",
  },
  TemplateTooLarge: {
    kinds: ["Job"],
    meaning: "spec.template is larger than Rota keeps for a job.",
    cure: "Move scripts and data out of the template and create a new job.",
  },
  Terminating: {
    kinds: ["Project", "ResourcePlan", "ConfigCommit"],
    meaning: "The object is being deleted; a finalizer keeps it.",
    cure: "Nothing; if it stays, check the finalizers in its metadata.",
  },
  TooLargeForPool: {
    kinds: ["Job"],
    meaning:
      "The pool could not fit the job even if it were empty, or has too few nodes for the pods that may run on one.",
    cure: "Request less per pod or fewer pods, allow more pods on a node, or use a pool with larger or more nodes.",
  },
  UnsupportedConstraint: {
    kinds: ["Job"],
    meaning:
      "spec.template asks for a placement that Rota does not support, such as required pod affinity or a resource claim.",
    cure: "Change the field named in the message and resubmit.",
  },
  WaitingForPreemption: {
    kinds: ["Job"],
    meaning: "Capacity is reserved on the nodes named in the message while the victims terminate.",
    cure: nothing,
  },
  WindowClosed: {
    kinds: ["Job"],
    meaning:
      "The window of the plan is closed. The job waits, or, if it runs over the quota of a plan with onWindowClose: Evict, it is evicted after the grace period.",
    cure: "Nothing; the message names the time at which the window opens.",
  },
  WindowClosesSoon: {
    kinds: ["Job", "ResourcePlan"],
    meaning: "A window closes soon. The plan then grants less than is in use, or evicts the job.",
    cure: "Save the progress of jobs before the time named in the message, or change the plan.",
  },
  WindowTooShort: {
    kinds: ["Job"],
    meaning: "The job could not finish before the window of its plan closes and evicts it.",
    cure: "Submit the job with a shorter maxRuntime to start before the close.",
  },
  WithinQuota: { kinds: ["Job"], meaning: "The job runs within quota.", cure: nothing },
} as const satisfies Readonly<Record<string, ReasonEntry>>;

export type Reason = keyof typeof reasons;

/** The reasons that conditions and events of a kind use. */
export type ReasonOf<Kind extends ReasonKind> = {
  [Name in Reason]: Kind extends (typeof reasons)[Name]["kinds"][number] ? Name : never;
}[Reason];

export type ProjectReason = ReasonOf<"Project">;
export type PlanReason = ReasonOf<"ResourcePlan">;
export type JobReason = ReasonOf<"Job">;
export type CommitReason = ReasonOf<"ConfigCommit">;

/** The row of a reason. */
export const reasonEntry = (reason: Reason): ReasonEntry => reasons[reason];

/** A job reason from its stored name; undefined if it is unknown, as after an upgrade or downgrade. */
export function jobReasonOf(text: string | null): JobReason | undefined {
  const known = text !== null && Object.hasOwn(reasons, text) ? (text as Reason) : undefined;
  if (known === undefined || !reasonEntry(known).kinds.includes("Job")) return undefined;
  return known as JobReason;
}
