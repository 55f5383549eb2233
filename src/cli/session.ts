/** What a command works with, made when it is first needed. */
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
  /** The namespace meant: -n, else the context's. */
  readonly namespace: string;
  readonly api: RotaApi;
}

/** What a command shows: its data, and how a table of it looks. */
export interface View {
  readonly data: unknown;
  readonly text: () => string;
  /** Status the command ends with; default 0. */
  readonly exitCode?: number;
}
