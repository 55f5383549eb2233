/**
 * The error catalogue: one row per code, with the SQLSTATEs and constraints that raise it and the HTTP status. A test
 * compares the constraints with pg_constraint.
 */
import type { Reason } from "../../api/reasons.ts";
import { type ErrorCode, RotaError } from "../../errors.ts";

/** Each message, with the SQLSTATEs or constraints that it describes. */
type Messages = Readonly<Record<string, readonly string[]>>;

interface Row {
  /** HTTP status of the answer; 500 if absent. */
  readonly httpStatus?: 400 | 404 | 503 | 504;
  /** SQLSTATEs of errors without a constraint, or the two characters of a whole class. */
  readonly sqlStates?: Messages;
  readonly constraints?: Messages;
  /** Foreign keys that fail because the statement deletes the referenced row. */
  readonly deletions?: Messages;
}

interface DescribedRow extends Row {
  readonly meaning: string;
}

/** The meaning of codes that are also reasons of conditions is in src/api/reasons.ts. */
type Catalogue = Readonly<
  Record<Exclude<ErrorCode, Reason>, DescribedRow> & Record<ErrorCode & Reason, Row>
>;

export const errorCatalogue: Catalogue = {
  AllocationInvalid: {
    meaning: "The allocations of a job would contradict the job.",
    constraints: {
      "the allocations contradict the job": [
        "allocations_not_changed",
        "allocations_of_live_jobs",
        "allocations_pkey",
        "reservations_pkey",
        "jobs_agree_with_allocations",
        "jobs_agree_with_reservations",
        "nodes_committed_is_derived",
        "nodes_committed_not_negative",
      ],
    },
  },
  AlreadyExists: {
    constraints: {
      "the job already avoids the node": ["avoided_nodes_pkey"],
      "the content is already stored": ["config_blobs_pkey"],
      "the commit is already stored": ["config_commits_pkey", "config_commits_project_id_key"],
      "the project already has a commit with this name": ["config_commits_project_name_key"],
      "the group already exists": ["groups_name_key", "groups_pkey"],
      "the job is already queued": ["job_specs_pkey", "jobs_pkey"],
      "the transition is already allowed": ["job_transitions_pkey"],
      "the database is already named": ["installation_pkey"],
      "the job already requests the resource": ["job_resources_pkey"],
      "the node already exists": ["nodes_pkey"],
      "the node already has the resource": ["node_resources_pkey"],
      "the pod is already counted": ["pod_completions_pkey"],
      "the priority class already exists": ["priority_classes_pkey"],
      "the subject already has a role in the project": ["project_members_pkey"],
      "a project with this name already exists": ["projects_name_key"],
      "the namespace belongs to another project": ["projects_namespace_key"],
      "the project already exists": ["projects_pkey"],
      "the owner already exists": ["resource_owners_id_kind_key", "resource_owners_pkey"],
      "the window already exists": ["resource_plans_pkey"],
      "the storage already exists": ["storages_pkey"],
      "the project already has a storage with this name": ["storages_project_name_key"],
      "the user already exists": ["users_name_key", "users_pkey"],
    },
  },
  CommitLimitExceeded: { httpStatus: 400 },
  ConfigurationImmutable: {
    meaning: "Stored configuration cannot be changed.",
    constraints: {
      "stored content cannot be changed": ["config_blobs_immutable"],
      "a commit cannot be changed": ["config_commits_immutable"],
    },
  },
  ContentExpunged: { httpStatus: 404 },
  DatabaseRefusesLogin: {
    meaning:
      "The database refuses the user or the password of DATABASE_URL. If this lasts, the operator ends, so that a new start reads it again.",
    httpStatus: 503,
    sqlStates: { "the database refuses the login of DATABASE_URL": ["28"] },
  },
  DatabaseReplaced: {
    meaning:
      "The database was restarted, restored or replaced. Rota compares it with the cluster before it starts anything.",
  },
  DatabaseTooNew: { meaning: "A newer operator has migrated the schema. Start that version." },
  DatabaseUnavailable: { meaning: "The database does not respond. Rota retries.", httpStatus: 503 },
  ExtensionMissing: {
    meaning:
      "The database lacks ltree or btree_gist, which are part of PostgreSQL's contrib package.",
  },
  HistoryImmutable: {
    meaning: "History and preemption log are written once.",
    constraints: {
      "history cannot be changed": [
        "job_events_append_only",
        "job_events_pkey",
        "preemption_victims_evicted_with_outcome",
        "preemption_victims_pkey",
        "preemptions_pkey",
        "preemptions_settled_with_outcome",
        "preemptions_written_once",
        "project_periods_not_empty",
        "project_periods_pkey",
      ],
    },
  },
  InternalError: {
    meaning:
      "A rule of the schema was violated that no input should reach, or the error is unknown. Report it.",
    constraints: {
      "the path of the project does not end in its name": ["projects_path_ends_in_name"],
      "the path of the project does not start with its parent's": ["projects_path_follows_parent"],
    },
  },
  InvalidConfiguration: {
    constraints: {
      "the hash does not match the content": ["config_blobs_hash_is_of_content"],
      "a content is either there, or expunged by somebody for a reason": [
        "config_blobs_content_or_expunged",
      ],
    },
  },
  InvalidValue: {
    httpStatus: 400,
    sqlStates: {
      "a number is too large for its column": ["22003"],
      "the text has a character that PostgreSQL cannot store": ["22021", "22P05"],
      "PostgreSQL cannot store the value": ["22", "54"],
    },
    constraints: {
      "a value must not be negative": [
        "allocations_cpu_not_negative",
        "allocations_gpus_not_negative",
        "allocations_memory_not_negative",
        "reservations_cpu_not_negative",
        "reservations_gpus_not_negative",
        "reservations_memory_not_negative",
        "jobs_attempt_not_negative",
        "jobs_backoff_limit_not_negative",
        "jobs_demand_not_negative",
        "jobs_failures_not_negative",
        "jobs_failed_starts_not_negative",
        "jobs_node_failures_not_negative",
        "nodes_allocatable_not_negative",
        "nodes_other_not_negative",
        "node_resources_not_negative",
        "pod_completions_index_not_negative",
        "resource_plans_quantity_not_negative",
      ],
      "a value must be a positive integer": [
        "allocations_pods_positive",
        "config_commits_bytes_positive",
        "reservations_pods_positive",
        "job_resources_amount_positive",
        "jobs_asked_grace_not_negative",
        "job_specs_max_pods_per_node_positive",
        "jobs_max_runtime_positive",
        "jobs_parallelism_positive",
        "preemption_victims_pods_positive",
        "storages_size_positive",
      ],
      "node selector, node affinity, tolerations and storages must have at most 16,384 bytes together":
        ["job_specs_constraints_bounded"],
      "the requests and limits of a pod must have at most 16,384 bytes together": [
        "job_specs_pod_usage_bounded",
      ],
      "a tag must have 1 to 128 characters": ["config_commits_tag_length"],
      "the owner is not a group": ["groups_kind_is_group"],
      "the name of a group must have 1 to 253 characters": ["groups_name_length"],
      "a database that belongs to a cluster has its place recorded, once": [
        "installation_is_one",
        "installation_place_of_cluster",
      ],
      "a field has the wrong JSON type": [
        "job_specs_node_affinity_is_array",
        "job_specs_preferred_affinity_is_array",
        "job_specs_node_selector_is_object",
        "job_specs_pod_usage_is_object",
        "job_specs_storages_is_array",
        "job_specs_tolerations_is_array",
        "jobs_ending_has_deadline",
        "jobs_ending_is_object",
        "jobs_placement_is_array",
        "nodes_labels_is_object",
        "nodes_taints_is_array",
        "storages_affinity_is_object",
      ],
      "a preemption must have either a preemptor or a closed window": [
        "preemptions_for_a_job_or_a_window",
      ],
      "a preemption must have a reason": ["preemptions_reason_given"],
      "name and namespace of a project cannot be changed": ["projects_identity_is_fixed"],
      "the name must be a DNS label of at most 63 characters": [
        "projects_name_is_dns_label",
        "projects_namespace_is_dns_label",
        "storages_name_is_dns_label",
      ],
      "the access mode is not supported": ["storages_access_mode_known"],
      "a plan grants GPU, CPU, memory or an extended resource": ["resource_plans_type_known"],
      "a plan for memory must grant less than 8388608 GiB": ["resource_plans_memory_bounded"],
      "a resource counts under its own name or as GPU": ["job_resources_type_agrees"],
      "the owner is not a user": ["users_kind_is_user"],
      "the name of a user must have 1 to 253 characters": ["users_name_length"],
    },
  },
  InvalidWindow: {
    constraints: {
      "a window must not be empty and must lie within the week": ["resource_plans_window_in_week"],
    },
  },
  JobTransitionRejected: {
    meaning: "Another actor changed the job first. Rota reads it again and retries.",
    constraints: {
      "finished jobs, and only these, have a completion time": ["jobs_finished_has_time"],
      "identity and demand of a job cannot be changed": ["jobs_identity_is_fixed"],
      "a job with pods must have a numbered attempt": ["jobs_live_has_attempt"],
      "a job can be deleted only after it has finished": ["jobs_only_ended_are_deleted"],
      "the job does not allow this transition": ["jobs_transition_allowed"],
      "another decision already evicts the attempt": ["preemption_victims_attempt_key"],
    },
  },
  NodeNotFound: {
    meaning: "The node is not mirrored yet, or still has allocations or reservations.",
    constraints: {
      "the node is unknown or still has allocations": ["allocations_node_exists"],
      "the node is unknown": ["node_resources_node_fkey"],
      "the node is unknown or still has reservations": ["reservations_node_fkey"],
    },
  },
  NodeOvercommitted: {
    meaning: "The node does not have enough free capacity for the allocation.",
    constraints: { "the node does not have enough free capacity": ["nodes_not_overcommitted"] },
  },
  ParentCommitNotFound: {
    constraints: {
      "a commit cannot be its own parent": ["config_commits_not_own_parent"],
      "the project has no such parent commit": ["config_commits_parent_in_project_fkey"],
    },
  },
  ParentNotFound: {
    constraints: { "the parent project does not exist": ["projects_parent_fkey"] },
  },
  PlanOverlap: {
    constraints: {
      "two plans of one owner, type and pool overlap in time": ["resource_plans_no_overlap"],
    },
  },
  ProjectCycle: {
    constraints: {
      "a project cannot be moved below itself": ["projects_no_cycle"],
      "a project cannot be its own parent": ["projects_not_own_parent"],
    },
  },
  ProjectHasChildren: {
    meaning: "A project with children cannot be deleted.",
    deletions: { "the project has children": ["projects_parent_fkey"] },
  },
  ProjectHasJobs: {
    meaning: "A project with active jobs cannot be deleted.",
    deletions: { "the project has active jobs": ["jobs_active_project_fkey"] },
  },
  ProjectNotFound: {
    httpStatus: 404,
    constraints: {
      "the project does not exist": [
        "config_commits_project_fkey",
        "project_members_project_fkey",
        "storages_project_fkey",
      ],
      "the project of the job does not exist": ["jobs_active_project_fkey"],
    },
  },
  ReferenceNotFound: {
    meaning: "A row refers to one that does not exist.",
    httpStatus: 404,
    constraints: {
      "the job does not exist": [
        "avoided_nodes_job_fkey",
        "reservations_job_fkey",
        "job_specs_job_fkey",
        "job_resources_job_fkey",
        "pod_completions_job_fkey",
      ],
      "the author does not exist": ["config_commits_author_fkey"],
      "the content is not stored": ["config_commits_blob_fkey"],
      "the owner is not a group": ["groups_id_kind_fkey"],
      "the preemption does not exist": ["preemption_victims_preemption_fkey"],
      "the member does not exist": ["project_members_owner_fkey"],
      "the owner does not exist": [
        "project_periods_owner_fkey",
        "projects_owner_fkey",
        "resource_plans_owner_fkey",
        "storages_owner_fkey",
      ],
      "the owner is not a user": ["users_id_kind_fkey"],
    },
  },
  SchemaChanged: {
    meaning: "The database has an earlier, unreleased schema. Use an empty database.",
  },
  SerializationFailed: {
    meaning: "Concurrent transactions conflicted in every attempt. Rota retries.",
    httpStatus: 503,
    sqlStates: { "concurrent transactions conflicted in every attempt": ["40"] },
  },
  TagTaken: {
    constraints: {
      "another commit of the project has the tag": ["config_commits_project_tag_key"],
    },
  },
  TimedOut: {
    meaning: "A lock, a statement or a transaction took longer than allowed. Rota retries.",
    httpStatus: 504,
    sqlStates: {
      "a lock was not granted in time": ["55P03"],
      "the statement took longer than allowed": ["57014"],
      "the transaction was idle for longer than allowed": ["25P03"],
    },
  },
};

/** The catalogue's row for a code. */
export const errorRow = (code: ErrorCode): Row & Partial<DescribedRow> => errorCatalogue[code];

interface Meaning {
  readonly code: ErrorCode;
  readonly message: string;
}

function index(column: "sqlStates" | "constraints" | "deletions"): ReadonlyMap<string, Meaning> {
  const entries = (Object.keys(errorCatalogue) as ErrorCode[]).flatMap((code) =>
    Object.entries(errorRow(code)[column] ?? {}).flatMap(([message, names]) =>
      names.map((name): [string, Meaning] => [name, { code, message }]),
    ),
  );
  return new Map(entries);
}

const bySqlState = index("sqlStates");
const byConstraint = index("constraints");
const byDeletion = index("deletions");

/** How an error of the database goes on: tried again by itself, or with another value, or after a repair. */
export type Course = "retried" | "refused" | "reported";

const refusedCodes: ReadonlySet<ErrorCode> = new Set(["InvalidValue", "InvalidConfiguration"]);
const retriedCodes: ReadonlySet<ErrorCode> = new Set([
  "DatabaseReplaced",
  "DatabaseUnavailable",
  "JobTransitionRejected",
  "SerializationFailed",
  "TimedOut",
]);

/**
 * Refused: the value has to be changed. Retried: of the moment, and no news before it lasts. Reported: retried as well,
 * but somebody has to know.
 */
export function courseOf(code: ErrorCode): Course {
  if (refusedCodes.has(code)) return "refused";
  return retriedCodes.has(code) ? "retried" : "reported";
}

/** The names of all constraints in the catalogue. */
export const knownConstraints: readonly string[] = [...byConstraint.keys()];

/** Fields that node-postgres sets on server errors, and Node.js on connection errors. */
interface DatabaseErrorFields {
  readonly code?: string | undefined;
  readonly constraint?: string | undefined;
}

type DatabaseError = Error & DatabaseErrorFields;

/** 25006: read-only, as a former primary is after a failover. */
const connectionCodes =
  /^(08...|25006|57P0.|53300|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN)$/;
/**
 * Of the server's state, not of the statement: disks and memory, an administrator's intervention, files. Later, or on
 * another server, the same statement goes through.
 */
const serverCodes = /^(53...|55...|57...|58...)$/;
const connectionMessages =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered/;

/** Whether another connection may succeed where this one failed. */
export const isConnectionLoss = ({ code = "", message }: DatabaseError): boolean =>
  connectionCodes.test(code) || connectionMessages.test(message);

function meaningOf(error: DatabaseError, deleting: boolean): Meaning {
  const { code = "", constraint = "", message } = error;
  const known =
    (deleting ? byDeletion.get(constraint) : undefined) ??
    byConstraint.get(constraint) ??
    bySqlState.get(code) ??
    bySqlState.get(code.slice(0, 2));
  if (known) return known;
  if (!isConnectionLoss(error) && !serverCodes.test(code))
    return { code: "InternalError", message };
  return {
    code: "DatabaseUnavailable",
    message: `the database does not respond: ${message || code}`,
  };
}

/**
 * Maps a database error to a RotaError, with the original as its cause. Returns a RotaError unchanged; unknown errors
 * become InternalError. `deleting` is true if the statement deletes the referenced row: a violated foreign key then has
 * another meaning, and only the caller knows which applies.
 */
export function mapDatabaseError(error: unknown, deleting = false): RotaError {
  if (error instanceof RotaError) return error;
  if (!(error instanceof Error)) return new RotaError("InternalError", String(error));
  const { code, message } = meaningOf(error, deleting);
  return new RotaError(code, message, { cause: error });
}
