/** Requests to the servers of an operator: proper ones with odd values, odd proofs of identity, and bytes of any kind. */
import * as fc from "fast-check";
import { routes, type Route } from "../../../src/api/http/routes.ts";

export const users = ["admin", "val", "ann", "stranger"] as const;
export type User = (typeof users)[number];

/** How the header with the proof is made: see proofs.ts. */
export type ProofPlan =
  | { readonly kind: "none" | "robot" }
  | { readonly kind: "signed" | "elsewhere" | "replayed"; readonly user: User }
  | { readonly kind: "damaged"; readonly user: User; readonly at: number; readonly by: string }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "made"; readonly header: unknown; readonly claims: unknown }
  | {
      readonly kind: "chain";
      /** Positions in the list of certificates of proofs.ts. */
      readonly certificates: readonly number[];
      /** A byte of the first certificate that is changed, and how. */
      readonly damage: readonly [at: number, xor: number] | null;
      readonly alg: string;
    };

export interface ProperRequest {
  readonly kind: "proper";
  readonly port: "api" | "metrics";
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly proof: ProofPlan;
}

export interface OddRequest {
  readonly kind: "odd";
  readonly port: "api" | "metrics";
  /** latin1 */
  readonly bytes: string;
  /** The client goes away without waiting. */
  readonly isCut: boolean;
}

export type RequestPlan = ProperRequest | OddRequest;

const encoded = (values: fc.Arbitrary<string>) => values.map(encodeURIComponent);

/** Any code points but surrogates. fast-check's own unit for these takes seconds to be made. */
const textOf = (maxLength: number): fc.Arbitrary<string> => {
  const point = fc.oneof(fc.nat(0x7f), fc.nat(0xd7ff), fc.integer({ min: 0xe000, max: 0x10ffff }));
  return fc.array(point, { maxLength }).map((points) => String.fromCodePoint(...points));
};

/** Values that were the cause of faults somewhere, and anything else. All can stand in a path or query. */
const nasty: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    "",
    ".",
    "..",
    "%00",
    "a%00b",
    "%ff",
    "%c3%28",
    "%2f",
    "%25",
    "%",
    "'",
    "%22",
    "*",
    "\\",
    "-1",
    "0",
    "1e9",
    "2147483648",
    "99999999999999999999",
    "NaN",
    "Infinity",
    "0x10",
    "true",
    "null",
    "{}",
    "[]",
    "__proto__",
    "constructor",
    "toString",
    "a..b",
    "a.b",
    "%F0%9F%92%A5",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "2026-02-30T00:00:00Z",
    "-271821-04-20T00:00:00Z",
    "%2B275760-09-13T00:00:00Z",
    "2026-01-01T00:00:00%2B99:99",
    "2026-01-01T00:00:00%2B23:59",
    "2016-12-31T23:59:60Z",
    "commit:",
    "tag:%00",
    "commit:%27",
  ),
  encoded(textOf(40)),
  fc.nat(3000).map((length) => "a".repeat(length)),
);

const instant = fc.constantFrom(
  "2026-01-01T00:00:00Z",
  "2020-06-01T12:00:00%2B02:00",
  "2026-11-01T00:00:00.000001Z",
);

/** Keys of pages of every operation, right and nearly right. */
const key: fc.Arbitrary<unknown> = fc.oneof(
  fc.tuple(
    fc.constantFrom("2026-11-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    fc.oneof(fc.uuid(), fc.array(fc.option(fc.string({ maxLength: 9 })), { maxLength: 5 })),
  ),
  fc.tuple(
    fc.oneof(fc.integer(), fc.maxSafeInteger()),
    fc.constantFrom("GPU", "CPU"),
    fc.string(),
    fc.integer(),
  ),
  fc.tuple(fc.string(), fc.maxSafeInteger()),
  fc.constantFrom("lab", "lab.team", "a..b", "\u0000", ".", "node-1", "\ud800", "{}"),
  textOf(20),
  fc.jsonValue({ maxDepth: 3 }),
);

const cursor = fc.oneof(
  {
    weight: 4,
    arbitrary: key.map((value) => Buffer.from(JSON.stringify(value)).toString("base64url")),
  },
  {
    weight: 1,
    arbitrary: fc.constant(Buffer.from("[".repeat(1400)).toString("base64url")),
  },
);

/** Values that exist in the installation of the test. */
const known: Readonly<Record<string, fc.Arbitrary<string>>> = {
  limit: fc.constantFrom("1", "2", "100", "500"),
  cursor,
  pool: fc.constantFrom("blue", "default"),
  namespace: fc.constantFrom("team", "other", "lab"),
  root: fc.constantFrom("team", "lab"),
  project: fc.constantFrom("team", "other", "lab"),
  name: fc.constantFrom("a", "b", "c", "d"),
  ownerKind: fc.constantFrom("User", "Group"),
  ownerName: fc.constantFrom("pat", "vision"),
  since: instant,
  until: instant,
  by: fc.constantFrom("subtree", "project", "owner", "pool", "day"),
  within: fc.constantFrom("team", "lab"),
  ref: fc.constantFrom("commit:one", "commit:two", "tag:v1"),
  from: fc.constantFrom("commit:one", "tag:v1"),
  to: fc.constantFrom("commit:two", "commit:one"),
  user: fc.constantFrom("val", "ann", "pat"),
  group: fc.constantFrom("vision", "system:masters"),
};

const valueOf = (name: string): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 8, arbitrary: (Object.hasOwn(known, name) ? known[name] : undefined) ?? nasty },
    { weight: 1, arbitrary: name === "cursor" ? cursor : nasty },
  );

/** Some of the route's parameters; sometimes one twice, or one that it does not have. */
function queryOf({ query }: Route): fc.Arbitrary<string> {
  const names = [...Object.keys(query.shape), "limit"];
  const pair = fc
    .oneof(
      { weight: 9, arbitrary: fc.constantFrom(...names) },
      { weight: 1, arbitrary: fc.constantFrom("unknown", "__proto__", "limit[]", "%00") },
    )
    .chain((name) => valueOf(name).map((value) => `${name}=${value}`));
  const needed = names.filter((name) => ["since", "ref", "from", "to"].includes(name));
  const whole = fc
    .tuple(...needed.map((name) => valueOf(name).map((value) => `${name}=${value}`)))
    .chain((first) => fc.array(pair, { maxLength: 3 }).map((rest) => [...first, ...rest]));
  return fc
    .oneof(
      { weight: 3, arbitrary: whole },
      { weight: 1, arbitrary: fc.array(pair, { maxLength: 5 }) },
    )
    .map((pairs) => (pairs.length === 0 ? "" : `?${pairs.join("&")}`));
}

const targetOf = (route: Route): fc.Arbitrary<string> =>
  fc
    .tuple(
      ...route.path
        .split(/(\{\w+\})/)
        .map((part) => (part.startsWith("{") ? valueOf(part.slice(1, -1)) : fc.constant(part))),
    )
    .chain((parts) => queryOf(route).map((query) => parts.join("") + query));

const apiTarget = fc.oneof(
  { weight: 12, arbitrary: fc.oneof(...Object.values<Route>(routes).map(targetOf)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "/openapi.json",
      "//",
      "/",
      "/?",
      "*",
      "/api/v1/",
      "/%ff?%ff",
      "http://x/",
    ),
  },
);

const metricsTarget = fc.oneof(
  fc.constantFrom(
    "/metrics",
    "/readyz",
    "/healthz",
    "//",
    "//:80",
    "*",
    "/metrics?x=//",
    "http://[",
  ),
  nasty.map((value) => `/${value}`),
);

const odds = fc.string({
  unit: fc.integer({ min: 33, max: 255 }).map((code) => String.fromCharCode(code)),
  maxLength: 400,
});
const user = fc.constantFrom(...users);

const header = fc.record(
  {
    typ: fc.constantFrom("rota-proof+jwt", "ROTA-PROOF+JWT", "JWT", 7, null),
    alg: fc.constantFrom("ES256", "none", "HS256", "RS256", "", 7),
    x5c: fc.oneof(
      fc.array(fc.oneof(fc.base64String({ maxLength: 200 }), fc.jsonValue({ maxDepth: 2 })), {
        maxLength: 8,
      }),
      fc.constantFrom([{ length: 2 ** 33 }], "text", 7, null, {}),
    ),
    crit: fc.constantFrom(["b64"], ["exp"], [], "x"),
    kid: fc.string(),
  },
  { requiredKeys: ["typ"] },
);

const claims = fc.oneof(
  fc.record({
    aud: fc.constantFrom("rota.dev", ["rota.dev"], null, 7),
    iat: fc.oneof(fc.integer(), fc.double()),
    exp: fc.integer(),
    jti: fc.jsonValue({ maxDepth: 1 }),
  }),
  fc.jsonValue({ maxDepth: 4 }),
);

const proof: fc.Arbitrary<ProofPlan> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant("signed" as const), user }) },
  { weight: 2, arbitrary: fc.constant({ kind: "robot" as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: "none" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("elsewhere" as const, "replayed" as const),
      user,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("damaged" as const),
      user,
      at: fc.nat(4000),
      by: fc.constantFrom("", "A", ".", "=", "\u00e9", "AAAA"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("text" as const),
      text: fc.oneof(
        odds,
        fc.nat(20_000).map((length) => "a.".repeat(length / 2)),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("made" as const), header, claims }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("chain" as const),
      certificates: fc.array(fc.nat(9), { minLength: 1, maxLength: 6 }),
      damage: fc.option(fc.tuple(fc.nat(800), fc.integer({ min: 1, max: 255 })), { freq: 2 }),
      alg: fc.constantFrom("ES256", "RS256", "EdDSA", "none"),
    }),
  },
);

const method = fc.oneof(
  { weight: 12, arbitrary: fc.constant("GET") },
  {
    weight: 1,
    arbitrary: fc.constantFrom("HEAD", "OPTIONS", "DELETE", "POST", "PUT", "PATCH", "TRACE"),
  },
);

const proper: fc.Arbitrary<ProperRequest> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      kind: fc.constant("proper" as const),
      port: fc.constant("api" as const),
      method,
      target: apiTarget,
      proof,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("proper" as const),
      port: fc.constant("metrics" as const),
      method,
      target: metricsTarget,
      proof: fc.constant({ kind: "none" as const }),
    }),
  },
);

const bytes = fc.oneof(
  fc
    .tuple(fc.constantFrom("GET", "get", "CONNECT", "PRI", "FOO", "HEAD"), odds)
    .map(([verb, target]) => `${verb} ${target} HTTP/1.1\r\nHost: x\r\n\r\n`),
  fc
    .array(
      fc.constantFrom(
        "Content-Length: 3",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",

        "Content-Length: 3, 3",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Expect: 100-continue",
        "Expect: x",
        "Upgrade: websocket",
        "Connection: upgrade",

        "Connection: close",
        "Host: y",
        "X-Rota-Token: a",
        "X-Rota-Token: b",
        ": x",
        "x",
        " x: y",

        `X: ${"a".repeat(40_000)}`,
        "X: y\r\n".repeat(2500).trimEnd(),
        "X: \u0000",
        "Cookie: \u00ff",
      ),
      { minLength: 1, maxLength: 5 },
    )
    .chain((lines) =>
      fc
        .constantFrom(
          "",
          "abc",
          "3\r\nabc\r\n0\r\n\r\n",
          "ffffffffffffffff\r\n",
          "0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        )
        .map(
          (body) => `GET /api/v1/queue HTTP/1.1\r\nHost: x\r\n${lines.join("\r\n")}\r\n\r\n${body}`,
        ),
    ),
  fc.constantFrom(
    "GET /\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "\r\n\r\n\r\n",

    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET http://[/ HTTP/1.1\r\n\r\n",
    "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50),
  ),
  fc.uint8Array({ maxLength: 600 }).map((part) => Buffer.from(part).toString("latin1")),
);

const odd: fc.Arbitrary<OddRequest> = fc.record({
  kind: fc.constant("odd" as const),
  port: fc.constantFrom("api" as const, "metrics" as const),
  bytes,
  isCut: fc.boolean(),
});

export const requestPlan: fc.Arbitrary<RequestPlan> = fc.oneof(
  { weight: 12, arbitrary: proper },
  { weight: 1, arbitrary: odd },
);
