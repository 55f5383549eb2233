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

/** Who asks, and what is left to do once the caller's rate allows the request. */
export interface Proof {
  readonly caller: Caller;
  /** Uses up a proof that is good for one request. Throws HttpProblem CertificateRejected when it was used before. */
  redeem(this: void): void;
}
