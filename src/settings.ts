/** Environment -> typed settings. All that is wrong is said at once, in one error. */

export interface Settings {
  readonly databaseUrl: string;
  /** IANA name of the installation's one time zone, in which plans' windows are meant. */
  readonly timeZone: string;
  /** Name of the extended resource that counts as GPU. */
  readonly gpuResource: string;
  /** Resource types that only plans grant: without one a job borrows. */
  readonly meteredTypes: readonly ("GPU" | "CPU")[];
  readonly httpAddress: string;
  /** 0 takes a free port. */
  readonly httpPort: number;
  /** Where the HTTP API is served, over TLS. */
  readonly apiAddress: string;
  /** 0 takes a free port. */
  readonly apiPort: number;
  /** PEM files of the API's certificate; undefined: one is made for the process. */
  readonly apiCertFile: string | undefined;
  readonly apiKeyFile: string | undefined;
  /** Questions a second that one caller may ask. */
  readonly apiRatePerSecond: number;
  readonly logLevel: string;
  readonly logFormat: "json" | "pretty";
  /** Jobs that one cycle looks at. */
  readonly claimLimit: number;
  /** How long freed capacity is kept for a preemptor whose victims are leaving. */
  readonly holdSeconds: number;
  /** How long before a window closes that evicts, the jobs it will evict are told. */
  readonly windowWarningSeconds: number;
  /** How long jobs may go on after such a close. */
  readonly windowGraceSeconds: number;
  /** A gang whose pods do not all run by then is taken back and placed anew. */
  readonly startDeadlineSeconds: number;
  /** How long a job keeps away from a node on which it did not start, or whose victims did not leave. */
  readonly avoidNodeSeconds: number;
  /** After its deletion time a pod that is still there is reported. */
  readonly stuckPodSeconds: number;
  /** How long ended Jobs without ttlSecondsAfterFinished are kept; undefined: for ever. */
  readonly finishedJobSeconds: number | undefined;
  /** How long the pods of ended jobs are kept; undefined: as long as their Job. */
  readonly finishedPodSeconds: number | undefined;
  /** How long the rows of ended jobs are kept. */
  readonly finishedRowDays: number;
  /** How long the history of ended jobs and the ledger are kept; undefined: for ever. */
  readonly historyDays: number | undefined;
  readonly leaderElection: boolean;
  readonly leaseNamespace: string;
  readonly leaseSeconds: number;
  readonly drainSeconds: number;
  /** A named point at which the process kills itself; for crash tests. */
  readonly crashPoint: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What stands in each variable, for messages and the generated reference. */
export const settingsReference: readonly {
  readonly name: string;
  readonly default: string;
  readonly meaning: string;
}[] = [
  {
    name: "DATABASE_URL",
    default: "(required)",
    meaning: "PostgreSQL, as postgres://user:password@host:port/database",
  },
  {
    name: "KUBECONFIG",
    default: "(in-cluster)",
    meaning: "The cluster, when the operator runs outside of it",
  },
  {
    name: "ROTA_TIME_ZONE",
    default: "UTC",
    meaning: "IANA time zone of the plans' weekly windows",
  },
  {
    name: "ROTA_GPU_RESOURCE",
    default: "nvidia.com/gpu",
    meaning: "Extended resource that counts as GPU",
  },
  {
    name: "ROTA_METERED_TYPES",
    default: "GPU",
    meaning: "Comma-separated resource types that only plans grant: GPU, CPU",
  },
  {
    name: "ROTA_HTTP_ADDRESS",
    default: "127.0.0.1",
    meaning: "Address of /healthz, /readyz and /metrics",
  },
  {
    name: "ROTA_HTTP_PORT",
    default: "8080",
    meaning: "Port of /healthz, /readyz and /metrics; 0 takes a free one",
  },
  {
    name: "ROTA_API_ADDRESS",
    default: "as ROTA_HTTP_ADDRESS",
    meaning: "Address of the HTTP API",
  },
  {
    name: "ROTA_API_PORT",
    default: "8443",
    meaning: "Port of the HTTP API, which speaks TLS; 0 takes a free one",
  },
  {
    name: "ROTA_API_CERT_FILE",
    default: "(a certificate made for the process)",
    meaning:
      "PEM file of the API's certificate, with ROTA_API_KEY_FILE; a change is noticed within half a minute",
  },
  {
    name: "ROTA_API_KEY_FILE",
    default: "(a key made for the process)",
    meaning: "PEM file of the key to ROTA_API_CERT_FILE",
  },
  {
    name: "ROTA_API_RATE_PER_SECOND",
    default: "20",
    meaning:
      "Questions a second that one caller may ask the HTTP API; three seconds' worth at once",
  },
  { name: "ROTA_LOG_LEVEL", default: "info", meaning: "error, warn, info or debug" },
  {
    name: "ROTA_LOG_FORMAT",
    default: "pretty on a terminal, else json",
    meaning: "json or pretty",
  },
  { name: "ROTA_CLAIM_LIMIT", default: "500", meaning: "Jobs that one scheduling cycle looks at" },
  {
    name: "ROTA_HOLD_SECONDS",
    default: "300",
    meaning: "How long capacity is kept for a preemptor",
  },
  {
    name: "ROTA_WINDOW_WARNING_SECONDS",
    default: "900",
    meaning: "How long before a window closes with onWindowClose Evict jobs are warned",
  },
  {
    name: "ROTA_WINDOW_GRACE_SECONDS",
    default: "300",
    meaning: "How long after such a close jobs past the plan's quantity may go on",
  },
  {
    name: "ROTA_START_DEADLINE_SECONDS",
    default: "300",
    meaning: "How long a gang may take to run whole",
  },
  {
    name: "ROTA_AVOID_NODE_SECONDS",
    default: "600",
    meaning: "How long a job keeps away from a node where it did not start in time",
  },
  {
    name: "ROTA_STUCK_POD_SECONDS",
    default: "60",
    meaning: "How long after the end of its grace period a pod that is still there is reported",
  },
  {
    name: "ROTA_FINISHED_JOB_SECONDS",
    default: "(never)",
    meaning: "Ended Jobs without ttlSecondsAfterFinished are deleted after this time",
  },
  {
    name: "ROTA_FINISHED_POD_SECONDS",
    default: "(with their Job)",
    meaning: "Pods of ended jobs are deleted after this time",
  },
  {
    name: "ROTA_FINISHED_ROW_DAYS",
    default: "30",
    meaning: "Rows of ended jobs are deleted after this time; their history stays",
  },
  {
    name: "ROTA_HISTORY_DAYS",
    default: "(for ever)",
    meaning: "History of ended jobs and ledger are deleted after this time; accounting ends there",
  },
  {
    name: "ROTA_LEADER_ELECTION",
    default: "true",
    meaning: "false for a single operator without a Lease",
  },
  {
    name: "ROTA_LEASE_NAMESPACE",
    default: "rota-system",
    meaning: "Namespace of the leader's Lease",
  },
  { name: "ROTA_LEASE_SECONDS", default: "15", meaning: "Duration of the leader's Lease" },
  {
    name: "ROTA_DRAIN_SECONDS",
    default: "20",
    meaning:
      "Longest wait for work under way on SIGTERM; terminationGracePeriodSeconds is at least 7 more",
  },
];

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

  text(name: string, fallback: string): string {
    return this.#environment[name]?.trim() || fallback;
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[], fallback: Choice): Choice {
    const value = this.text(name, fallback);
    const found = choices.find((choice) => choice === value);
    if (found === undefined) this.problems.push(`${name} is ${choices.join(", ")}, not "${value}"`);
    return found ?? fallback;
  }

  whole(name: string, fallback: number, lowest: number, highest: number): number {
    const text = this.text(name, String(fallback));
    const value = Number(text);
    if (Number.isInteger(value) && value >= lowest && value <= highest) return value;
    this.problems.push(`${name} is a whole number from ${lowest} to ${highest}, not "${text}"`);
    return fallback;
  }

  wholeIfGiven(name: string, lowest: number, highest: number): number | undefined {
    return this.text(name, "") === "" ? undefined : this.whole(name, lowest, lowest, highest);
  }

  databaseUrl(): string {
    const text = this.text("DATABASE_URL", "");
    if (text === "") {
      this.problems.push(
        "DATABASE_URL is not set: give postgres://user:password@host:port/database",
      );
      return "";
    }
    if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) {
      this.problems.push(
        "DATABASE_URL is not of the form postgres://user:password@host:port/database",
      );
    }
    return text;
  }

  timeZone(): string {
    const zone = this.text("ROTA_TIME_ZONE", "UTC");
    try {
      Temporal.Now.zonedDateTimeISO(zone);
    } catch {
      this.problems.push(
        `ROTA_TIME_ZONE is an IANA time zone such as Europe/Berlin, not "${zone}"`,
      );
    }
    return zone;
  }

  apiFiles(): Pick<Settings, "apiCertFile" | "apiKeyFile"> {
    const apiCertFile = this.text("ROTA_API_CERT_FILE", "") || undefined;
    const apiKeyFile = this.text("ROTA_API_KEY_FILE", "") || undefined;
    if ((apiCertFile === undefined) !== (apiKeyFile === undefined)) {
      this.problems.push("ROTA_API_CERT_FILE and ROTA_API_KEY_FILE go together");
    }
    return { apiCertFile, apiKeyFile };
  }

  meteredTypes(): ("GPU" | "CPU")[] {
    const names = this.text("ROTA_METERED_TYPES", "GPU")
      .split(",")
      .map((name) => name.trim());
    const known = names.filter((name) => name === "GPU" || name === "CPU");
    if (known.length !== names.length) {
      this.problems.push(`ROTA_METERED_TYPES lists GPU and CPU, not "${names.join(",")}"`);
    }
    return known;
  }
}

/** Throws SettingsError, which lists every variable that has to be changed. */
export function readSettings(environment: Environment, onTerminal: boolean): Settings {
  const read = new Reader(environment);
  const settings: Settings = {
    databaseUrl: read.databaseUrl(),
    timeZone: read.timeZone(),
    gpuResource: read.text("ROTA_GPU_RESOURCE", "nvidia.com/gpu"),
    meteredTypes: read.meteredTypes(),
    httpAddress: read.text("ROTA_HTTP_ADDRESS", "127.0.0.1"),
    httpPort: read.whole("ROTA_HTTP_PORT", 8080, 0, 65_535),
    apiAddress: read.text("ROTA_API_ADDRESS", read.text("ROTA_HTTP_ADDRESS", "127.0.0.1")),
    apiPort: read.whole("ROTA_API_PORT", 8443, 0, 65_535),
    ...read.apiFiles(),
    apiRatePerSecond: read.whole("ROTA_API_RATE_PER_SECOND", 20, 1, 10_000),
    logLevel: read.oneOf("ROTA_LOG_LEVEL", ["error", "warn", "info", "debug"], "info"),
    logFormat: read.oneOf("ROTA_LOG_FORMAT", ["json", "pretty"], onTerminal ? "pretty" : "json"),
    claimLimit: read.whole("ROTA_CLAIM_LIMIT", 500, 1, 100_000),
    holdSeconds: read.whole("ROTA_HOLD_SECONDS", 300, 1, 86_400),
    windowWarningSeconds: read.whole("ROTA_WINDOW_WARNING_SECONDS", 900, 0, 604_800),
    windowGraceSeconds: read.whole("ROTA_WINDOW_GRACE_SECONDS", 300, 0, 86_400),
    startDeadlineSeconds: read.whole("ROTA_START_DEADLINE_SECONDS", 300, 1, 86_400),
    avoidNodeSeconds: read.whole("ROTA_AVOID_NODE_SECONDS", 600, 0, 604_800),
    stuckPodSeconds: read.whole("ROTA_STUCK_POD_SECONDS", 60, 0, 86_400),
    finishedJobSeconds: read.wholeIfGiven("ROTA_FINISHED_JOB_SECONDS", 0, 366 * 86_400),
    finishedPodSeconds: read.wholeIfGiven("ROTA_FINISHED_POD_SECONDS", 0, 366 * 86_400),
    finishedRowDays: read.whole("ROTA_FINISHED_ROW_DAYS", 30, 1, 36_500),
    historyDays: read.wholeIfGiven("ROTA_HISTORY_DAYS", 7, 36_500),
    leaderElection: read.oneOf("ROTA_LEADER_ELECTION", ["true", "false"], "true") === "true",
    leaseNamespace: read.text("ROTA_LEASE_NAMESPACE", "rota-system"),
    leaseSeconds: read.whole("ROTA_LEASE_SECONDS", 15, 3, 600),
    drainSeconds: read.whole("ROTA_DRAIN_SECONDS", 20, 1, 600),
    crashPoint: environment["ROTA_CRASH_POINT"],
  };
  if (read.problems.length > 0) throw new SettingsError(read.problems);
  return settings;
}
