/** The operator as a child process, as the quickstart and the end-to-end tests run it. */
import { join } from "node:path";
import { type Daemon, startDaemon, unlessItDies } from "./daemon.ts";
import { projectRoot } from "./paths.ts";
import { freePorts } from "./ports.ts";
import { endProcess } from "./processes.ts";
import { waitFor } from "./wait.ts";

export interface OperatorOptions {
  readonly kubeconfig: string;
  readonly databaseUrl: string;
  readonly logFile: string;
  /** Path of the program; default src/main.ts. */
  readonly program?: string;
  /** Further ROTA_ variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether to wait until it is ready; default true. False: until it serves its metrics. */
  readonly untilReady?: boolean;
}

export interface Operator {
  readonly pid: number;
  /** Path of its log. */
  readonly logFile: string;
  /** Base of /healthz, /readyz and /metrics. */
  readonly url: string;
  /** Base of the HTTP API. */
  readonly apiUrl: string;
  /** Resolves when the process ends, with its status or signal. */
  readonly ended: Promise<string>;
  /** Sends SIGTERM, then SIGKILL if it does not drain in time. */
  stop(): Promise<void>;
  kill(): Promise<void>;
}

/** The flags of the image and of `npm start`; the Dockerfile has the reason. */
export const nodeFlags = ["--max-semi-space-size=2"];

const readyTimeoutMs = 60_000;
const drainMs = 30_000;

function launch(options: OperatorOptions, port: number, apiPort: number): Daemon {
  return startDaemon({
    name: "operator",
    command: process.execPath,
    args: [...nodeFlags, options.program ?? join(projectRoot, "src", "main.ts")],
    logFile: options.logFile,
    background: false,
    env: {
      KUBECONFIG: options.kubeconfig,
      DATABASE_URL: options.databaseUrl,
      ROTA_HTTP_PORT: String(port),
      ROTA_API_PORT: String(apiPort),
      ROTA_LOG_FORMAT: "pretty",
      // A shell that has sourced .local/env names those of another operator.
      ROTA_API_CERT_FILE: undefined,
      ROTA_API_KEY_FILE: undefined,
      ...options.env,
    },
  });
}

/** Resolves when the operator is ready, or runs. Throws with the end of its log if it ends first. */
export async function startOperator(options: OperatorOptions): Promise<Operator> {
  const [port = 0, apiPort = 0] = await freePorts(2);
  const daemon = launch(options, port, apiPort);
  const url = `http://127.0.0.1:${port}`;
  const { untilReady = true } = options;
  const page = untilReady ? "readyz" : "metrics";
  const ready = waitFor(async () => (await fetch(`${url}/${page}`)).ok, {
    what: untilReady ? "the operator to be ready" : "the operator to run",
    timeoutMs: readyTimeoutMs,
  });
  await unlessItDies(daemon, options.logFile, ready);
  return {
    pid: daemon.pid,
    logFile: options.logFile,
    url,
    apiUrl: `https://127.0.0.1:${apiPort}`,
    ended: daemon.ended,
    stop: () => endProcess(daemon, "SIGTERM", drainMs),
    kill: () => endProcess(daemon, "SIGKILL", drainMs),
  };
}
