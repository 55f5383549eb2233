/** The JSON schema of the chart's values: closed, so that a misspelt value is refused and not ignored. */
import { variables, type Variable } from "../../../src/settings/variables.ts";

type Schema = Readonly<Record<string, unknown>>;

const text = (description: string, more: Schema = {}): Schema => ({
  type: "string",
  description,
  ...more,
});
const flag = (description: string): Schema => ({ type: "boolean", description });
/** What the API server checks, when it gets it. */
const passedOn = (type: "object" | "array", description: string): Schema => ({ type, description });
const port: Schema = { type: "integer", minimum: 1, maximum: 65_535 };
const group = (description: string, properties: Readonly<Record<string, Schema>>): Schema => ({
  type: "object",
  description,
  additionalProperties: false,
  properties,
});

/** What the Deployment sets itself, or what belongs to another way of running the operator. */
const notSettings: ReadonlySet<string> = new Set<keyof typeof variables>([
  "databaseUrl",
  "kubeconfig",
  "apiAddress",
  "apiPort",
  "apiCertFile",
  "apiKeyFile",
  "httpAddress",
  "httpPort",
  "leaseNamespace",
]);

/** YAML reads true and false as booleans. */
const withBooleans = (choices: readonly string[]): readonly (string | boolean)[] => [
  ...choices,
  ...choices
    .filter((choice) => choice === "true" || choice === "false")
    .map((choice) => choice === "true"),
];

function formOf({ form }: Variable): Schema {
  if (form.kind === "whole") {
    return { type: "integer", minimum: form.lowest, maximum: form.highest };
  }
  if (form.kind === "choice") return { enum: withBooleans(form.choices) };
  return {
    type: "string",
    ...(form.pattern === undefined ? { minLength: 1 } : { pattern: form.pattern }),
  };
}

const settings = (): Readonly<Record<string, Schema>> =>
  Object.fromEntries(
    Object.entries(variables)
      .filter(([name]) => !notSettings.has(name))
      .map(([name, variable]) => [
        name,
        { ...formOf(variable), description: `${variable.meaning}; default ${variable.default}` },
      ]),
  );

export const valuesSchema = (): Schema => ({
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "Values of Rota's chart",
  ...group("Values of Rota's chart", {
    global: passedOn("object", "Helm's own, for charts that contain this one"),
    namespace: group("The namespace of the release", {
      create: flag("Makes the namespace with its Pod Security labels, for `helm template`"),
    }),
    image: group("The operator's image", {
      repository: text("With the registry, without a tag", { minLength: 1 }),
      tag: text("Default: the chart's appVersion"),
      digest: text("Instead of a tag", { pattern: "^$|^sha256:[0-9a-f]{64}$" }),
      pullPolicy: { enum: ["Always", "IfNotPresent", "Never"] },
      pullSecrets: passedOn("array", "References to Secrets, as in a pod's imagePullSecrets"),
    }),
    replicas: { type: "integer", minimum: 1, maximum: 5 },
    database: group("Where the URL of PostgreSQL is", {
      secretName: text("A Secret in the release's namespace", { minLength: 1 }),
      urlKey: text("Its key with postgres://…", { minLength: 1 }),
      caKey: text("Its key with the authority's certificate; TLS is verified then"),
    }),
    api: group("The HTTP API", {
      certificateSecret: text(
        "A Secret of the type kubernetes.io/tls with the API's certificate; default: one is made",
      ),
    }),
    settings: group("The operator's settings: ROTA_TIME_ZONE is timeZone", settings()),
    resources: passedOn("object", "As in a container"),
    nodeOptions: text("Flags of Node, as in NODE_OPTIONS"),
    priorityClassName: text("Of the operator's pods"),
    nodeSelector: passedOn("object", "As in a pod"),
    tolerations: passedOn("array", "As in a pod"),
    affinity: passedOn("object", "As in a pod; default: replicas on different nodes and zones"),
    podAnnotations: passedOn("object", "Of the operator's pods"),
    networkPolicy: group("What the operator may reach, and who may reach it", {
      enabled: flag("Whether there is a NetworkPolicy"),
      databasePort: port,
      apiServerPorts: { type: "array", items: port, minItems: 1 },
      metricsFrom: passedOn("array", "Peers, as in a NetworkPolicy, for metrics; empty: anywhere"),
      apiFrom: passedOn("array", "Peers, as in a NetworkPolicy, for the HTTP API; empty: anywhere"),
    }),
    customResources: group("The custom resources' definitions", {
      enabled: flag("Whether the chart installs and upgrades them; they outlive the release"),
    }),
    admissionPolicies: group("Policies of the API server", {
      enabled: flag("Whether the chart installs them; they need Kubernetes 1.30 or newer"),
    }),
    monitoring: group("Objects of the Prometheus operator", {
      enabled: flag("Whether the chart installs them; their definitions must be there"),
    }),
  }),
});
