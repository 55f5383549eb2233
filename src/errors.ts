/** Every error Rota gives a name: a stable code for programs, a message for people. */

/** Codes never change their meaning; conditions, logs and metrics show them. */
export const errorMeanings = {
  AllocationInvalid: "A job's allocations would not agree with the job.",
  AlreadyExists: "A name, or a namespace, is taken.",
  ConfigurationImmutable: "Stored configuration does not change.",
  InvalidConfiguration: "A configuration has no canonical form, or its hash is wrong.",
  ParentCommitNotFound: "A commit follows one that its project does not have.",
  DatabaseReplaced:
    "The database was restarted, restored or replaced: it is compared with the cluster before anything is started.",
  DatabaseTooNew: "A newer operator has migrated the schema: start that one.",
  DatabaseUnavailable: "The database does not answer; tried again.",
  ExtensionMissing:
    "The database lacks ltree or btree_gist, which are in PostgreSQL's contrib package.",
  HistoryImmutable: "The history and the preemption log are written once.",
  InternalError:
    "A rule of the schema that no input should reach, or an error without a name: report it.",
  InvalidValue: "A value is not one that the column takes.",
  JobTransitionRejected: "Another actor changed the job first; read again and tried again.",
  NodeOvercommitted: "The node has no room for the commitment.",
  NodeNotFound: "The node is not mirrored yet, or still has allocations or reservations.",
  ParentNotFound: "A project's parent is not stored.",
  PlanOverlap: "Two plans of one owner, type and pool overlap in time.",
  InvalidWindow: "A window is empty or not inside the week.",
  ProjectCycle: "A project would lie below itself.",
  ProjectHasChildren: "A project with children is not deleted.",
  ProjectHasJobs: "A project with active jobs is not deleted.",
  ProjectNotFound: "The project is not stored.",
  ReferenceNotFound: "A row refers to one that is not there.",
  SchemaChanged: "The database was made by an earlier schema, before a release: use an empty one.",
  SerializationFailed: "Another transaction was in the way each time; tried again.",
  TagTaken: "Another commit of the project has the tag.",
  TimedOut: "A lock, a statement or a transaction took longer than allowed; tried again.",
} as const;

export type ErrorCode = keyof typeof errorMeanings;

export class RotaError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "RotaError";
    this.code = code;
  }
}

/** A plan's window that PostgreSQL refused (23P01), with what it collides with. */
export class PlanOverlapError extends RotaError {
  /** Name of the plan that is there already; undefined when it left meanwhile. */
  readonly plan: string | undefined;
  /** Its window in words, as "Mon 08:00-18:00". */
  readonly window: string;

  constructor(plan: string | undefined, window: string, options?: ErrorOptions) {
    super("PlanOverlap", `overlaps plan ${plan ?? "(withdrawn meanwhile)"}, ${window}`, options);
    this.plan = plan;
    this.window = window;
  }
}

interface Mapping {
  readonly code: ErrorCode;
  readonly message: string;
}

const mapping = (code: ErrorCode, message: string): Mapping => ({ code, message });

const overcommitted = mapping("NodeOvercommitted", "the node has no room for this commitment");
const allocation = mapping("AllocationInvalid", "the allocations do not agree with the job");
const history = mapping("HistoryImmutable", "history is written once");
const name = mapping("InvalidValue", "the name is not a DNS label of at most 63 characters");
const negative = mapping("InvalidValue", "a quantity is below its least value");
const malformed = mapping("InvalidValue", "a field does not have the JSON type it needs");

/** Constraint names of the schema, and the errors their violations are. */
export const constraintErrors: Readonly<Record<string, Mapping>> = {
  allocations_cpu_not_negative: negative,
  allocations_gpus_not_negative: negative,
  allocations_memory_not_negative: negative,
  allocations_node_exists: mapping("NodeNotFound", "a node is unknown, or still has allocations"),
  allocations_not_changed: allocation,
  allocations_of_live_jobs: allocation,
  allocations_pkey: allocation,
  allocations_pods_positive: negative,
  avoided_nodes_job_fkey: mapping("ReferenceNotFound", "the job is unknown"),
  avoided_nodes_pkey: mapping("AlreadyExists", "the job avoids the node already"),
  config_blobs_hash_is_of_content: mapping(
    "InvalidConfiguration",
    "the hash is not that of the content",
  ),
  config_blobs_immutable: mapping("ConfigurationImmutable", "stored content does not change"),
  config_blobs_pkey: mapping("AlreadyExists", "this content is stored already"),
  config_commits_author_fkey: mapping("ReferenceNotFound", "the author is unknown"),
  config_commits_blob_fkey: mapping("ReferenceNotFound", "the content is not stored"),
  config_commits_immutable: mapping("ConfigurationImmutable", "a commit does not change"),
  config_commits_not_own_parent: mapping("ParentCommitNotFound", "a commit cannot follow itself"),
  config_commits_parent_in_project_fkey: mapping(
    "ParentCommitNotFound",
    "the parent commit is not of this project",
  ),
  config_commits_pkey: mapping("AlreadyExists", "this commit is stored already"),
  config_commits_project_fkey: mapping("ProjectNotFound", "the project is unknown"),
  config_commits_project_id_key: mapping("AlreadyExists", "this commit is stored already"),
  config_commits_project_name_key: mapping(
    "AlreadyExists",
    "the project has a commit of this name",
  ),
  config_commits_project_tag_key: mapping(
    "TagTaken",
    "the tag is taken by another commit of the project",
  ),
  config_commits_tag_length: mapping("InvalidValue", "a tag has 1 to 128 characters"),
  groups_id_kind_fkey: mapping("ReferenceNotFound", "the owner is not a group"),
  groups_kind_is_group: mapping("InvalidValue", "the owner is not a group"),
  groups_name_key: mapping("AlreadyExists", "the group exists"),
  groups_name_length: mapping("InvalidValue", "a group's name has 1 to 253 characters"),
  groups_pkey: mapping("AlreadyExists", "the group exists"),
  reservations_cpu_not_negative: negative,
  reservations_gpus_not_negative: negative,
  reservations_job_fkey: mapping("ReferenceNotFound", "the held job is unknown"),
  reservations_memory_not_negative: negative,
  reservations_node_fkey: mapping("NodeNotFound", "a node is unknown, or still has reservations"),
  reservations_pkey: allocation,
  reservations_pods_positive: negative,
  job_events_append_only: history,
  job_events_pkey: history,
  job_specs_job_fkey: mapping("ReferenceNotFound", "the job is unknown"),
  job_specs_node_affinity_is_array: malformed,
  job_specs_node_selector_is_object: malformed,
  job_specs_pkey: mapping("AlreadyExists", "the job is queued already"),
  job_specs_storages_is_array: malformed,
  job_specs_tolerations_is_array: malformed,
  job_transitions_pkey: mapping("AlreadyExists", "the transition is allowed already"),
  jobs_active_project_fkey: mapping("ProjectNotFound", "the job's project is unknown"),
  jobs_agree_with_allocations: allocation,
  jobs_agree_with_reservations: allocation,
  jobs_attempt_not_negative: negative,
  jobs_backoff_limit_not_negative: negative,
  jobs_demand_not_negative: negative,
  jobs_ending_has_deadline: malformed,
  jobs_ending_is_object: malformed,
  jobs_failures_not_negative: negative,
  jobs_finished_has_time: mapping(
    "JobTransitionRejected",
    "an ended job has the time of its end, others have none",
  ),
  jobs_identity_is_fixed: mapping(
    "JobTransitionRejected",
    "identity and demand of a job are fixed",
  ),
  jobs_live_has_attempt: mapping("JobTransitionRejected", "a live job has a numbered attempt"),
  jobs_max_runtime_positive: negative,
  jobs_only_ended_are_deleted: mapping(
    "JobTransitionRejected",
    "a job is forgotten only after its end",
  ),
  jobs_parallelism_positive: negative,
  jobs_placement_is_array: malformed,
  jobs_pkey: mapping("AlreadyExists", "the job is queued already"),
  jobs_transition_allowed: mapping(
    "JobTransitionRejected",
    "this transition of the job is not allowed",
  ),
  nodes_allocatable_not_negative: negative,
  nodes_committed_is_derived: allocation,
  nodes_committed_not_negative: allocation,
  nodes_other_not_negative: negative,
  nodes_labels_is_object: malformed,
  nodes_not_overcommitted: overcommitted,
  nodes_pkey: mapping("AlreadyExists", "the node exists"),
  nodes_taints_is_array: malformed,
  pod_completions_index_not_negative: negative,
  pod_completions_job_fkey: mapping("ReferenceNotFound", "the job is unknown"),
  pod_completions_pkey: mapping("AlreadyExists", "the pod is counted already"),
  preemption_victims_attempt_key: mapping(
    "JobTransitionRejected",
    "the attempt is evicted by another decision already",
  ),
  preemption_victims_evicted_with_outcome: history,
  preemption_victims_pkey: history,
  preemption_victims_pods_positive: negative,
  preemption_victims_preemption_fkey: mapping("ReferenceNotFound", "the preemption is unknown"),
  preemptions_for_a_job_or_a_window: mapping(
    "InvalidValue",
    "a preemption is for a job, or a window closed",
  ),
  preemptions_pkey: history,
  preemptions_reason_given: mapping("InvalidValue", "a preemption needs a reason"),
  preemptions_settled_with_outcome: history,
  preemptions_written_once: history,
  priority_classes_pkey: mapping("AlreadyExists", "the priority class exists"),
  project_members_owner_fkey: mapping("ReferenceNotFound", "the member is unknown"),
  project_members_pkey: mapping("AlreadyExists", "a subject has one role in a project"),
  project_members_project_fkey: mapping("ProjectNotFound", "the project is unknown"),
  project_periods_not_empty: history,
  project_periods_owner_fkey: mapping("ReferenceNotFound", "the owner is unknown"),
  project_periods_pkey: history,
  projects_identity_is_fixed: mapping(
    "InvalidValue",
    "name, namespace and path of a project are fixed",
  ),
  projects_name_is_dns_label: name,
  projects_name_key: mapping("AlreadyExists", "a project of this name exists"),
  projects_namespace_is_dns_label: name,
  projects_namespace_key: mapping("AlreadyExists", "the namespace belongs to another project"),
  projects_no_cycle: mapping("ProjectCycle", "a project cannot move below itself"),
  projects_not_own_parent: mapping("ProjectCycle", "a project cannot be its own parent"),
  projects_owner_fkey: mapping("ReferenceNotFound", "the owner is unknown"),
  projects_parent_fkey: mapping("ParentNotFound", "the parent project is unknown"),
  projects_path_ends_in_name: mapping(
    "InternalError",
    "the project's path does not end in its name",
  ),
  projects_path_follows_parent: mapping(
    "InternalError",
    "the project's path does not follow its parent",
  ),
  projects_pkey: mapping("AlreadyExists", "the project exists"),
  resource_owners_id_kind_key: mapping("AlreadyExists", "the owner exists"),
  resource_owners_pkey: mapping("AlreadyExists", "the owner exists"),
  resource_plans_no_overlap: mapping(
    "PlanOverlap",
    "two plans of one owner, type and pool overlap in time",
  ),
  resource_plans_owner_fkey: mapping("ReferenceNotFound", "the owner is unknown"),
  resource_plans_pkey: mapping("AlreadyExists", "the window exists"),
  resource_plans_quantity_not_negative: negative,
  resource_plans_window_in_week: mapping(
    "InvalidWindow",
    "a window is not empty and lies inside the week",
  ),
  storages_access_mode_known: mapping("InvalidValue", "the access mode is unknown"),
  storages_affinity_is_object: malformed,
  storages_name_is_dns_label: name,
  storages_owner_fkey: mapping("ReferenceNotFound", "the owner is unknown"),
  storages_pkey: mapping("AlreadyExists", "the storage exists"),
  storages_project_fkey: mapping("ProjectNotFound", "the project is unknown"),
  storages_project_name_key: mapping("AlreadyExists", "the project has a storage of this name"),
  storages_size_positive: negative,
  users_id_kind_fkey: mapping("ReferenceNotFound", "the owner is not a user"),
  users_kind_is_user: mapping("InvalidValue", "the owner is not a user"),
  users_name_key: mapping("AlreadyExists", "the user exists"),
  users_name_length: mapping("InvalidValue", "a user's name has 1 to 253 characters"),
  users_pkey: mapping("AlreadyExists", "the user exists"),
};

/** The same constraint means something else when a referenced row was to be deleted. */
const deletionErrors: Readonly<Record<string, Mapping>> = {
  jobs_active_project_fkey: mapping("ProjectHasJobs", "the project has active jobs"),
  projects_parent_fkey: mapping("ProjectHasChildren", "the project has children"),
};

/** What node-postgres puts on an error of the server, and Node on one of the connection. */
interface DatabaseErrorFields {
  readonly code?: string | undefined;
  readonly constraint?: string | undefined;
  readonly message: string;
}

const isDatabaseError = (error: unknown): error is Error & DatabaseErrorFields =>
  error instanceof Error;

/** SQLSTATE classes and codes without a constraint, and connection errors of Node. */
const codeErrors: Readonly<Record<string, Mapping>> = {
  "22003": mapping("InvalidValue", "a number is larger than its column takes"),
  "22P05": mapping("InvalidConfiguration", "the text has a character PostgreSQL cannot store"),
  "40001": mapping("SerializationFailed", "another transaction was in the way each time"),
  "40P01": mapping("SerializationFailed", "another transaction was in the way each time"),
  "55P03": mapping("TimedOut", "a lock was not granted in time"),
  "57014": mapping("TimedOut", "the statement took longer than allowed"),
  "25P03": mapping("TimedOut", "the transaction was idle for longer than allowed"),
};

const connectionCodes =
  /^(08...|57P0.|53300|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN)$/;
const connectionMessages =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered/;

const isConnectionLoss = (error: DatabaseErrorFields): boolean =>
  connectionCodes.test(error.code ?? "") || connectionMessages.test(error.message);

function mappingOf(error: DatabaseErrorFields, deleting: boolean): Mapping | undefined {
  const constraint = error.constraint ?? "";
  const ofDeletion = deleting ? deletionErrors[constraint] : undefined;
  return ofDeletion ?? constraintErrors[constraint] ?? codeErrors[error.code ?? ""];
}

/**
 * Gives an error of the database its name; a RotaError passes as it is, anything unknown becomes
 * InternalError with the original as its cause. A foreign key reads differently when the statement
 * deleted what it refers to, which only the caller knows: `deleting`.
 */
export function mapDatabaseError(error: unknown, deleting = false): RotaError {
  if (error instanceof RotaError) return error;
  if (!isDatabaseError(error)) return new RotaError("InternalError", String(error));
  const known = mappingOf(error, deleting);
  if (known) return new RotaError(known.code, known.message, { cause: error });
  if (isConnectionLoss(error)) {
    return new RotaError(
      "DatabaseUnavailable",
      `the database does not answer: ${error.message || error.code}`,
      {
        cause: error,
      },
    );
  }
  return new RotaError("InternalError", error.message, { cause: error });
}
