/** The operator's environment variables: what may stand in each. Read by src/settings/read.ts; the reference and the chart's schema are made from it. */

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
  /** What counts without it; in parentheses where that is no value. */
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

/** Those that the chart's `settings` may set have the same name there. */
export const variables = {
  databaseUrl: text(
    "DATABASE_URL",
    "(required)",
    "PostgreSQL, as postgres://user:password@host:port/database",
  ),
  kubeconfig: text(
    "KUBECONFIG",
    "(in-cluster)",
    "The cluster, when the operator runs outside of it",
  ),
  timeZone: text("ROTA_TIME_ZONE", "UTC", "IANA time zone of the plans' weekly windows"),
  gpuResource: text("ROTA_GPU_RESOURCE", "nvidia.com/gpu", "Extended resource that counts as GPU"),
  meteredTypes: text(
    "ROTA_METERED_TYPES",
    "GPU",
    "Comma-separated resource types that only plans grant: GPU, CPU",
    "^(GPU|CPU)( *, *(GPU|CPU))*$",
  ),
  httpAddress: text("ROTA_HTTP_ADDRESS", "127.0.0.1", "Address of /healthz, /readyz and /metrics"),
  httpPort: whole(
    "ROTA_HTTP_PORT",
    8080,
    0,
    65_535,
    "Port of /healthz, /readyz and /metrics; 0 takes a free one",
  ),
  apiAddress: text("ROTA_API_ADDRESS", "as ROTA_HTTP_ADDRESS", "Address of the HTTP API"),
  apiPort: whole(
    "ROTA_API_PORT",
    8443,
    0,
    65_535,
    "Port of the HTTP API, which speaks TLS; 0 takes a free one",
  ),
  apiCertFile: text(
    "ROTA_API_CERT_FILE",
    "(a certificate made for the process)",
    "PEM file of the API's certificate, with ROTA_API_KEY_FILE; a change is noticed within half a minute",
  ),
  apiKeyFile: text(
    "ROTA_API_KEY_FILE",
    "(a key made for the process)",
    "PEM file of the key to ROTA_API_CERT_FILE",
  ),
  apiRatePerSecond: whole(
    "ROTA_API_RATE_PER_SECOND",
    20,
    1,
    10_000,
    "Questions a second that one caller may ask the HTTP API; three seconds' worth at once",
  ),
  logLevel: choice(
    "ROTA_LOG_LEVEL",
    "info",
    ["error", "warn", "info", "debug"],
    "error, warn, info or debug",
  ),
  logFormat: choice(
    "ROTA_LOG_FORMAT",
    "pretty on a terminal, else json",
    ["json", "pretty"],
    "json or pretty",
  ),
  claimLimit: whole("ROTA_CLAIM_LIMIT", 500, 1, 100_000, "Jobs that one scheduling cycle looks at"),
  reservationSeconds: whole(
    "ROTA_RESERVATION_SECONDS",
    300,
    1,
    86_400,
    "How long capacity is kept for a preemptor",
  ),
  windowWarningSeconds: whole(
    "ROTA_WINDOW_WARNING_SECONDS",
    900,
    0,
    604_800,
    "How long before a window closes with onWindowClose Evict jobs are warned",
  ),
  windowGraceSeconds: whole(
    "ROTA_WINDOW_GRACE_SECONDS",
    300,
    0,
    86_400,
    "How long after such a close jobs past the plan's quantity may go on",
  ),
  startDeadlineSeconds: whole(
    "ROTA_START_DEADLINE_SECONDS",
    300,
    1,
    86_400,
    "How long a gang may take to run whole",
  ),
  avoidNodeSeconds: whole(
    "ROTA_AVOID_NODE_SECONDS",
    600,
    0,
    604_800,
    "How long a job keeps away from a node where it did not start in time",
  ),
  stuckPodSeconds: whole(
    "ROTA_STUCK_POD_SECONDS",
    60,
    0,
    86_400,
    "How long after the end of its grace period a pod that is still there is reported",
  ),
  finishedJobSeconds: wholeIfGiven(
    "ROTA_FINISHED_JOB_SECONDS",
    "(never)",
    0,
    366 * 86_400,
    "Ended Jobs without ttlSecondsAfterFinished are deleted after this time",
  ),
  finishedPodSeconds: wholeIfGiven(
    "ROTA_FINISHED_POD_SECONDS",
    "(with their Job)",
    0,
    366 * 86_400,
    "Pods of ended jobs are deleted after this time",
  ),
  finishedRowDays: whole(
    "ROTA_FINISHED_ROW_DAYS",
    30,
    1,
    36_500,
    "Rows of ended jobs are deleted after this time; their history stays",
  ),
  historyDays: wholeIfGiven(
    "ROTA_HISTORY_DAYS",
    "(for ever)",
    7,
    36_500,
    "History of ended jobs and preemption log are deleted after this time; accounting ends there",
  ),
  leaderElection: choice(
    "ROTA_LEADER_ELECTION",
    "true",
    ["true", "false"],
    "false for a single operator without a Lease",
  ),
  leaseNamespace: text("ROTA_LEASE_NAMESPACE", "rota-system", "Namespace of the leader's Lease"),
  leaseSeconds: whole("ROTA_LEASE_SECONDS", 15, 3, 600, "Duration of the leader's Lease"),
  drainSeconds: whole(
    "ROTA_DRAIN_SECONDS",
    20,
    1,
    600,
    "Longest wait for work under way on SIGTERM; terminationGracePeriodSeconds is at least 7 more",
  ),
};

/** In the order of the reference. */
export const settingsReference: readonly Variable[] = Object.values(variables);
