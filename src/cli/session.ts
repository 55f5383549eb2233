/** The context of a command, and its result. */
import type { Connection } from "./connection.ts";
import type { Format } from "./output.ts";
import type { RotaApi } from "./rota-api.ts";

/** Options of every command. */
export interface GlobalOptions {
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly namespace?: string;
  readonly allNamespaces?: boolean;
  readonly output: Format;
  readonly watch?: boolean;
  readonly rotaNamespace: string;
  readonly server?: string;
  readonly certificateAuthority?: string;
  readonly insecureSkipTlsVerify?: boolean;
}

export interface Session {
  readonly options: GlobalOptions;
  readonly connection: Connection;
  /** -n, or the context's namespace. */
  readonly namespace: string;
  readonly api: RotaApi;
}

/** The result of a command: its data, and the text for people. */
export interface View {
  readonly data: unknown;
  readonly text: () => string;
  /** Exit status; default 0. */
  readonly exitCode?: number;
  /** What is missing from the result and why; printed on stderr. */
  readonly warning?: string | undefined;
}
