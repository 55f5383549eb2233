/** The JSON schema of the chart's values: closed, so that a misspelt value is refused and not ignored. */
import { settingsReference } from "../../../src/settings.ts";

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

/** Variables that the Deployment sets itself, or that belong to another way of running the operator. */
const notSettings = new Set([
  "DATABASE_URL",
  "KUBECONFIG",
  "ROTA_API_ADDRESS",
  "ROTA_API_PORT",
  "ROTA_HTTP_ADDRESS",
  "ROTA_HTTP_PORT",
  "ROTA_LEASE_NAMESPACE",
]);

/** ROTA_TIME_ZONE -> timeZone */
const settingOf = (variable: string): string =>
  variable
    .replace(/^ROTA_/, "")
    .toLowerCase()
    .replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());

function settings(): Readonly<Record<string, Schema>> {
  const settable = settingsReference.filter(({ name }) => !notSettings.has(name));
  const described = settable.map(({ name, meaning, default: standard }) => {
    const description = `${meaning}; default ${standard}`;
    return [settingOf(name), { type: ["string", "integer", "boolean"], description }] as const;
  });
  // The grace period is computed from it.
  return {
    ...Object.fromEntries(described),
    drainSeconds: { type: "integer", minimum: 1, maximum: 600 },
  };
}

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
    settings: group("The operator's settings: ROTA_TIME_ZONE is timeZone", settings()),
    resources: passedOn("object", "As in a container"),
    nodeOptions: text("Flags of Node, as in NODE_OPTIONS"),
    priorityClassName: text("Of the operator's pods"),
    nodeSelector: passedOn("object", "As in a pod"),
    tolerations: passedOn("array", "As in a pod"),
    affinity: passedOn("object", "As in a pod; default: replicas on different nodes and zones"),
    podAnnotations: passedOn("object", "Of the operator's pods"),
    networkPolicy: group("What the operator may reach", {
      enabled: flag("Whether there is a NetworkPolicy"),
      databasePort: port,
      apiServerPorts: { type: "array", items: port, minItems: 1 },
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
