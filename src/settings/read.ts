/** Environment -> typed settings. All that is wrong is said at once, in one error. */
import { variables } from "./variables.ts";
import type { ChoiceForm, Variable, WholeForm } from "./variables.ts";

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
  readonly reservationSeconds: number;
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
  /** How long the history of ended jobs and the preemption log are kept; undefined: for ever. */
  readonly historyDays: number | undefined;
  readonly leaderElection: boolean;
  readonly leaseNamespace: string;
  readonly leaseSeconds: number;
  readonly drainSeconds: number;
  /** A named point at which the process kills itself; for crash tests. */
  readonly crashPoint: string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

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
    this.problems.push(`${variable.name} is ${choices.join(", ")}, not "${value}"`);
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
      `${variable.name} is a whole number from ${lowest} to ${highest}, not "${text}"`,
    );
    return undefined;
  }

  databaseUrl(): string {
    const text = this.text(variables.databaseUrl, "");
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
    const zone = this.text(variables.timeZone);
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
    const apiCertFile = this.text(variables.apiCertFile, "") || undefined;
    const apiKeyFile = this.text(variables.apiKeyFile, "") || undefined;
    if ((apiCertFile === undefined) !== (apiKeyFile === undefined)) {
      this.problems.push("ROTA_API_CERT_FILE and ROTA_API_KEY_FILE go together");
    }
    return { apiCertFile, apiKeyFile };
  }

  meteredTypes(): ("GPU" | "CPU")[] {
    const names = this.text(variables.meteredTypes)
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
    gpuResource: read.text(variables.gpuResource),
    meteredTypes: read.meteredTypes(),
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
    avoidNodeSeconds: read.whole(variables.avoidNodeSeconds),
    stuckPodSeconds: read.whole(variables.stuckPodSeconds),
    finishedJobSeconds: read.wholeIfGiven(variables.finishedJobSeconds),
    finishedPodSeconds: read.wholeIfGiven(variables.finishedPodSeconds),
    finishedRowDays: read.whole(variables.finishedRowDays),
    historyDays: read.wholeIfGiven(variables.historyDays),
    leaderElection: read.oneOf(variables.leaderElection) === "true",
    leaseNamespace: read.text(variables.leaseNamespace),
    leaseSeconds: read.whole(variables.leaseSeconds),
    drainSeconds: read.whole(variables.drainSeconds),
    crashPoint: environment["ROTA_CRASH_POINT"],
  };
  if (read.problems.length > 0) throw new SettingsError(read.problems);
  return settings;
}
