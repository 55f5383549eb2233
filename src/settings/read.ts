/** Environment -> typed settings. One error reports all problems. */
import { variables } from "./variables.ts";
import type { ChoiceForm, TextForm, Variable, WholeForm } from "./variables.ts";

export interface Settings {
  readonly databaseUrl: string;
  /** IANA time zone of the weekly windows of all plans. */
  readonly timeZone: string;
  /** Names of the extended resources that count as GPUs under plans. */
  readonly gpuResources: readonly string[];
  /** The first of them. Nodes and allocations count it in a column, the others by their names. */
  readonly gpuResource: string;
  /** Patterns of extended resources that are not metered unless a plan names them. */
  readonly unmeteredResources: readonly string[];
  readonly httpAddress: string;
  /** 0 selects a free port. */
  readonly httpPort: number;
  /** Listen address of the HTTP API (TLS). */
  readonly apiAddress: string;
  /** 0 selects a free port. */
  readonly apiPort: number;
  /** PEM files of the API's certificate; undefined: a self-signed one for the process. */
  readonly apiCertFile: string | undefined;
  readonly apiKeyFile: string | undefined;
  /** Requests per second per caller. */
  readonly apiRatePerSecond: number;
  readonly logLevel: string;
  readonly logFormat: "json" | "pretty";
  /** Maximum number of queued jobs that a cycle considers. */
  readonly claimLimit: number;
  /** How long a reservation waits for the victims to terminate. */
  readonly reservationSeconds: number;
  /** How long before the close of an evicting window the affected jobs are warned. */
  readonly windowWarningSeconds: number;
  /** How long jobs over quota may continue to run after that close. */
  readonly windowGraceSeconds: number;
  /** A gang whose pods are not all running by then is stopped and placed again. */
  readonly startDeadlineSeconds: number;
  readonly startPauseSeconds: number;
  readonly maxFailedStarts: number;
  /** How long a job avoids a node on which it did not start or whose victims did not terminate. */
  readonly avoidNodeSeconds: number;
  /** Maximum grace period of the pods of jobs, in seconds. */
  readonly maxGraceSeconds: number;
  /** How long the database may refuse the login before the operator ends. */
  readonly databaseLoginSeconds: number;
  /** How long a deleted plan stays in force. */
  readonly planDeletionSeconds: number;
  /** How long a node's changed pool label must stay before it counts. */
  readonly poolChangeSeconds: number;
  /** How long a PodDisruptionBudget may delay the eviction of a job that borrows; 0: without limit. */
  readonly maxBudgetDelaySeconds: number;
  /** How long after its grace period a pod that has not terminated is reported. */
  readonly stuckPodSeconds: number;
  /** Maximum number of commits of a project. */
  readonly projectCommits: number;
  /** Maximum size of their distinct contents. */
  readonly projectContentMib: number;
  /** How long the rows of deleted commits are kept, and contents that nothing needs. */
  readonly deletedCommitDays: number;
  /** How long finished Jobs without ttlSecondsAfterFinished are kept. */
  readonly finishedJobSeconds: number;
  /** How long the pods of finished jobs are kept; undefined: as long as their Job. */
  readonly finishedPodSeconds: number | undefined;
  /** How long the rows of finished jobs are kept. */
  readonly finishedRowDays: number;
  /** How long history and preemption log are kept. */
  readonly historyDays: number;
  readonly leaderElection: boolean;
  readonly leaseNamespace: string;
  readonly leaseSeconds: number;
  /** How long the cluster's Lease must have been free before an empty database takes over by itself. */
  readonly takeoverSeconds: number;
  readonly drainSeconds: number;
  /** Named point at which the process kills itself, for crash tests. */
  readonly crashPoint: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Temporal takes offsets and whole dates, too; a week on an offset has no summer time. */
function isTimeZoneName(zone: string): boolean {
  if (!/^[A-Za-z][\w+/-]*$/.test(zone)) return false;
  try {
    Temporal.Now.zonedDateTimeISO(zone);
    return true;
  } catch {
    return false;
  }
}

export class SettingsError extends Error {
  constructor(problems: readonly string[]) {
    super(`cannot start:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`);
    this.name = "SettingsError";
  }
}

class Reader {
  readonly problems: string[] = [];
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  text({ name, default: standard }: Variable, fallback = standard): string {
    return this.#environment[name]?.trim() || fallback;
  }

  oneOf<Choice extends string>(
    variable: Variable<ChoiceForm<Choice>>,
    fallback = variable.default,
  ): Choice {
    const { choices } = variable.form;
    const value = this.text(variable, fallback);
    const found = choices.find((choice) => choice === value);
    if (found !== undefined) return found;
    this.problems.push(`${variable.name} must be one of ${choices.join(", ")}, not "${value}"`);
    return choices[0];
  }

  whole(variable: Variable<WholeForm<number>>): number {
    return this.wholeIfGiven(variable) ?? variable.form.fallback;
  }

  wholeIfGiven(variable: Variable<WholeForm>): number | undefined {
    const { lowest, highest } = variable.form;
    const text = this.text(variable, "");
    if (text === "") return undefined;
    const value = Number(text);
    if (Number.isInteger(value) && value >= lowest && value <= highest) return value;
    this.problems.push(
      `${variable.name} must be an integer from ${lowest} to ${highest}, not "${text}"`,
    );
    return undefined;
  }

  databaseUrl(): string {
    const text = this.text(variables.databaseUrl, "");
    if (text === "") {
      this.problems.push("DATABASE_URL must be set to postgres://user:password@host:port/database");
      return "";
    }
    if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) {
      this.problems.push(
        "DATABASE_URL must be of the form postgres://user:password@host:port/database",
      );
    }
    return text;
  }

  timeZone(): string {
    const zone = this.text(variables.timeZone);
    if (!isTimeZoneName(zone)) {
      this.problems.push(
        `ROTA_TIME_ZONE must be the name of an IANA time zone such as Europe/Berlin, not "${zone}"`,
      );
    }
    return zone;
  }

  apiFiles(): Pick<Settings, "apiCertFile" | "apiKeyFile"> {
    const apiCertFile = this.text(variables.apiCertFile, "") || undefined;
    const apiKeyFile = this.text(variables.apiKeyFile, "") || undefined;
    if ((apiCertFile === undefined) !== (apiKeyFile === undefined)) {
      this.problems.push("ROTA_API_CERT_FILE and ROTA_API_KEY_FILE must be set together");
    }
    return { apiCertFile, apiKeyFile };
  }

  /** Comma-separated. */
  list(variable: Variable<TextForm>, form: string): string[] {
    const value = this.text(variable);
    if (variable.form.pattern !== undefined && !new RegExp(variable.form.pattern).test(value))
      this.problems.push(`${variable.name} must be ${form}, not "${value}"`);
    return value.split(",").map((item) => item.trim());
  }
}

/** Reads and validates the settings. Throws SettingsError, which lists every invalid variable. */
export function readSettings(environment: Environment, onTerminal: boolean): Settings {
  const read = new Reader(environment);
  const gpuResources = read.list(
    variables.gpuResources,
    "a list of extended resources such as nvidia.com/gpu,amd.com/gpu",
  );
  const settings: Settings = {
    databaseUrl: read.databaseUrl(),
    timeZone: read.timeZone(),
    gpuResource: gpuResources[0] ?? "",
    gpuResources,
    unmeteredResources: read.list(
      variables.unmeteredResources,
      "a list of patterns such as rdma/*,example.com/nic",
    ),
    httpAddress: read.text(variables.httpAddress),
    httpPort: read.whole(variables.httpPort),
    apiAddress: read.text(variables.apiAddress, read.text(variables.httpAddress)),
    apiPort: read.whole(variables.apiPort),
    ...read.apiFiles(),
    apiRatePerSecond: read.whole(variables.apiRatePerSecond),
    logLevel: read.oneOf(variables.logLevel),
    logFormat: read.oneOf(variables.logFormat, onTerminal ? "pretty" : "json"),
    claimLimit: read.whole(variables.claimLimit),
    reservationSeconds: read.whole(variables.reservationSeconds),
    windowWarningSeconds: read.whole(variables.windowWarningSeconds),
    windowGraceSeconds: read.whole(variables.windowGraceSeconds),
    startDeadlineSeconds: read.whole(variables.startDeadlineSeconds),
    startPauseSeconds: read.whole(variables.startPauseSeconds),
    maxFailedStarts: read.whole(variables.maxFailedStarts),
    avoidNodeSeconds: read.whole(variables.avoidNodeSeconds),
    databaseLoginSeconds: read.whole(variables.databaseLoginSeconds),
    planDeletionSeconds: read.whole(variables.planDeletionSeconds),
    poolChangeSeconds: read.whole(variables.poolChangeSeconds),
    maxGraceSeconds: read.whole(variables.maxGraceSeconds),
    maxBudgetDelaySeconds: read.whole(variables.maxBudgetDelaySeconds),
    stuckPodSeconds: read.whole(variables.stuckPodSeconds),
    projectCommits: read.whole(variables.projectCommits),
    projectContentMib: read.whole(variables.projectContentMib),
    deletedCommitDays: read.whole(variables.deletedCommitDays),
    finishedJobSeconds: read.whole(variables.finishedJobSeconds),
    finishedPodSeconds: read.wholeIfGiven(variables.finishedPodSeconds),
    finishedRowDays: read.whole(variables.finishedRowDays),
    historyDays: read.whole(variables.historyDays),
    leaderElection: read.oneOf(variables.leaderElection) === "true",
    leaseNamespace: read.text(variables.leaseNamespace),
    leaseSeconds: read.whole(variables.leaseSeconds),
    takeoverSeconds: read.whole(variables.takeoverSeconds),
    drainSeconds: read.whole(variables.drainSeconds),
    crashPoint: environment["ROTA_CRASH_POINT"],
  };
  if (read.problems.length > 0) throw new SettingsError(read.problems);
  return settings;
}
