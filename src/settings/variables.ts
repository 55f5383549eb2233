/** The operator's environment variables with range and meaning. Read by src/settings/read.ts; source of the reference and of the chart's schema. */

export interface TextForm {
  readonly kind: "text";
  readonly pattern: string | undefined;
}

export interface ChoiceForm<Choice extends string = string> {
  readonly kind: "choice";
  readonly choices: readonly [Choice, ...Choice[]];
}

export interface WholeForm<Fallback extends number | undefined = number | undefined> {
  readonly kind: "whole";
  readonly lowest: number;
  readonly highest: number;
  readonly fallback: Fallback;
}

export interface Variable<Form = TextForm | ChoiceForm | WholeForm> {
  readonly name: string;
  /** Used if the variable is not set; in parentheses if it is not a value. */
  readonly default: string;
  readonly meaning: string;
  readonly form: Form;
}

const text = (
  name: string,
  standard: string,
  meaning: string,
  pattern?: string,
): Variable<TextForm> => ({
  name,
  default: standard,
  meaning,
  form: { kind: "text", pattern },
});

const choice = <const Choice extends string>(
  name: string,
  standard: string,
  choices: readonly [Choice, ...Choice[]],
  meaning: string,
): Variable<ChoiceForm<Choice>> => ({
  name,
  default: standard,
  meaning,
  form: { kind: "choice", choices },
});

const whole = (
  name: string,
  fallback: number,
  lowest: number,
  highest: number,
  meaning: string,
): Variable<WholeForm<number>> => ({
  name,
  default: String(fallback),
  meaning,
  form: { kind: "whole", lowest, highest, fallback },
});

const wholeIfGiven = (
  name: string,
  standard: string,
  lowest: number,
  highest: number,
  meaning: string,
): Variable<WholeForm<undefined>> => ({
  name,
  default: standard,
  meaning,
  form: { kind: "whole", lowest, highest, fallback: undefined },
});

/** A pattern of comma-separated items. */
const listOf = (item: string): string => `^${item}( *, *${item})*$`;

/** The chart's `settings` use the same names. */
export const variables = {
  databaseUrl: text(
    "DATABASE_URL",
    "(required)",
    "URL of the PostgreSQL database: postgres://user:password@host:port/database",
  ),
  kubeconfig: text(
    "KUBECONFIG",
    "(in-cluster)",
    "kubeconfig file, for an operator outside the cluster",
  ),
  timeZone: text("ROTA_TIME_ZONE", "UTC", "IANA time zone of the weekly windows of plans"),
  gpuResources: text(
    "ROTA_GPU_RESOURCES",
    "nvidia.com/gpu,amd.com/gpu,gpu.intel.com/xe,gpu.intel.com/i915,habana.ai/gaudi",
    "Extended resources that count as GPUs, comma-separated. The first should be the most common: it is searched fastest. Change the first only while no job waits or runs",
    listOf("[^ ,/*]+/[^ ,/*]+"),
  ),
  unmeteredResources: text(
    "ROTA_UNMETERED_RESOURCES",
    "rdma/*,vpc.amazonaws.com/efa",
    "Extended resources that are not metered unless a plan of the pool names them, comma-separated; a star stands for any characters. none: all are metered",
    listOf("[^ ,]+"),
  ),
  httpAddress: text(
    "ROTA_HTTP_ADDRESS",
    "127.0.0.1",
    "Listen address of /healthz, /readyz and /metrics",
  ),
  httpPort: whole(
    "ROTA_HTTP_PORT",
    8080,
    0,
    65_535,
    "Port of /healthz, /readyz and /metrics; 0 selects a free port",
  ),
  apiAddress: text(
    "ROTA_API_ADDRESS",
    "value of ROTA_HTTP_ADDRESS",
    "Listen address of the HTTP API",
  ),
  apiPort: whole(
    "ROTA_API_PORT",
    8443,
    0,
    65_535,
    "Port of the HTTP API (TLS); 0 selects a free port",
  ),
  apiCertFile: text(
    "ROTA_API_CERT_FILE",
    "(self-signed, new for each process)",
    "PEM file of the API's certificate; requires ROTA_API_KEY_FILE. Changes are loaded within 30 s",
  ),
  apiKeyFile: text(
    "ROTA_API_KEY_FILE",
    "(new for each process)",
    "PEM file of the private key of ROTA_API_CERT_FILE",
  ),
  apiRatePerSecond: whole(
    "ROTA_API_RATE_PER_SECOND",
    20,
    1,
    10_000,
    "API requests per second per caller (burst: 3 s)",
  ),
  logLevel: choice(
    "ROTA_LOG_LEVEL",
    "info",
    ["error", "warn", "info", "debug"],
    "Minimum level of log lines",
  ),
  logFormat: choice(
    "ROTA_LOG_FORMAT",
    "pretty on a terminal, otherwise json",
    ["json", "pretty"],
    "Format of log lines",
  ),
  claimLimit: whole(
    "ROTA_CLAIM_LIMIT",
    500,
    1,
    100_000,
    "Maximum number of queued jobs that a scheduling cycle considers",
  ),
  reservationSeconds: whole(
    "ROTA_RESERVATION_SECONDS",
    300,
    1,
    86_400,
    "How long a reservation waits for the victims to terminate; longer while they are within their grace period",
  ),
  windowWarningSeconds: whole(
    "ROTA_WINDOW_WARNING_SECONDS",
    900,
    0,
    604_800,
    "How long before a window with onWindowClose: Evict closes the affected jobs are warned",
  ),
  windowGraceSeconds: whole(
    "ROTA_WINDOW_GRACE_SECONDS",
    300,
    0,
    86_400,
    "How long after that close jobs over quota may continue to run",
  ),
  startDeadlineSeconds: whole(
    "ROTA_START_DEADLINE_SECONDS",
    300,
    1,
    86_400,
    "How long all pods of a gang may take to be running",
  ),
  startPauseSeconds: whole(
    "ROTA_START_PAUSE_SECONDS",
    60,
    1,
    86_400,
    "Pause after a start that failed because of the job itself; after the second, third and further ones in a row it is 5, 30 and 120 times as long",
  ),
  maxFailedStarts: whole(
    "ROTA_MAX_FAILED_STARTS",
    10,
    1,
    1000,
    "Starts in a row that may fail because of the job itself before the job is Failed",
  ),
  avoidNodeSeconds: whole(
    "ROTA_AVOID_NODE_SECONDS",
    600,
    0,
    604_800,
    "How long a job avoids a node on which it did not start in time",
  ),
  databaseLoginSeconds: whole(
    "ROTA_DATABASE_LOGIN_SECONDS",
    120,
    1,
    86_400,
    "How long the database may refuse the login before the operator ends, so that a new start reads DATABASE_URL again",
  ),
  planDeletionSeconds: whole(
    "ROTA_PLAN_DELETION_SECONDS",
    30,
    0,
    86_400,
    "How long a deleted ResourcePlan stays in force, unless another plan takes its place: tools replace plans by deleting and creating them",
  ),
  poolChangeSeconds: whole(
    "ROTA_POOL_CHANGE_SECONDS",
    30,
    0,
    86_400,
    "How long a node's changed pool label must stay before the node changes its pool: until then jobs of the former pool keep what is promised to them",
  ),
  maxGraceSeconds: whole(
    "ROTA_MAX_GRACE_SECONDS",
    3600,
    1,
    604_800,
    "Maximum of terminationGracePeriodSeconds in templates of jobs, also at their eviction; spec.limits of a project lowers it",
  ),
  maxBudgetDelaySeconds: whole(
    "ROTA_MAX_BUDGET_DELAY_SECONDS",
    600,
    0,
    604_800,
    "How long a PodDisruptionBudget may delay the eviction of a job that borrows or whose window has closed; 0: without limit",
  ),
  stuckPodSeconds: whole(
    "ROTA_STUCK_POD_SECONDS",
    60,
    0,
    86_400,
    "How long after its grace period a pod that has not terminated is reported",
  ),
  projectCommits: whole(
    "ROTA_PROJECT_COMMITS",
    10_000,
    1,
    1_000_000,
    "Maximum number of ConfigCommits of a project; deleted ones count for ROTA_DELETED_COMMIT_DAYS",
  ),
  projectContentMib: whole(
    "ROTA_PROJECT_CONTENT_MIB",
    1024,
    1,
    1_048_576,
    "Maximum size of all distinct contents of the ConfigCommits of a project, in MiB; deleted ones count for ROTA_DELETED_COMMIT_DAYS",
  ),
  deletedCommitDays: whole(
    "ROTA_DELETED_COMMIT_DAYS",
    30,
    1,
    36_500,
    "Days after which the rows of deleted ConfigCommits are deleted, and contents that no commit and no job needs",
  ),
  finishedJobSeconds: whole(
    "ROTA_FINISHED_JOB_SECONDS",
    30 * 86_400,
    0,
    366 * 86_400,
    "Time after which finished Jobs without ttlSecondsAfterFinished are deleted",
  ),
  finishedPodSeconds: wholeIfGiven(
    "ROTA_FINISHED_POD_SECONDS",
    "(with their Job)",
    0,
    366 * 86_400,
    "Time after which the pods of finished jobs are deleted",
  ),
  finishedRowDays: whole(
    "ROTA_FINISHED_ROW_DAYS",
    30,
    1,
    36_500,
    "Days after which the rows of finished jobs are deleted; their history is kept",
  ),
  historyDays: whole(
    "ROTA_HISTORY_DAYS",
    400,
    7,
    36_500,
    "Days after which history and preemption log are deleted; usage reports do not reach further back",
  ),
  leaderElection: choice(
    "ROTA_LEADER_ELECTION",
    "true",
    ["true", "false"],
    "false: a single operator runs without a Lease",
  ),
  leaseNamespace: text(
    "ROTA_LEASE_NAMESPACE",
    "rota-system",
    "Namespace of the leader election Lease",
  ),
  leaseSeconds: whole("ROTA_LEASE_SECONDS", 15, 3, 600, "Duration of the leader election Lease"),
  takeoverSeconds: whole(
    "ROTA_TAKEOVER_SECONDS",
    600,
    0,
    86_400,
    "How long this cluster's Lease must have been free before an operator with an empty database leads in place of the one that the cluster knows",
  ),
  drainSeconds: whole(
    "ROTA_DRAIN_SECONDS",
    20,
    1,
    600,
    "How long running work may take to finish after SIGTERM; set terminationGracePeriodSeconds at least 7 s higher",
  ),
};

/** All variables, in the order of the reference. */
export const settingsReference: readonly Variable[] = Object.values(variables);
