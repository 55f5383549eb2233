/** The caller of a request, and the facts that identify it. */
export interface Caller {
  readonly user: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
  readonly by: "token" | "certificate";
}

export interface SignedRequest {
  readonly token: string | undefined;
  readonly method: string;
  /** Path and query, as signed by the client. */
  readonly target: string;
}
