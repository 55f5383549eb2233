/**
 * Makes the parts of charts/rota that say what manifests/ and crds/ say already; the templates of the operator's own
 * objects are written by hand and held against manifests/operator by a test.
 */
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { projectRoot } from "../shell.ts";
import type { GeneratedFile } from "./types.ts";
import { valuesSchema } from "./chart-values-schema.ts";

const chart = "charts/rota";
const notice = (source: string): string =>
  `# Generated from ${source} by \`npm run generate\`; do not edit.\n`;

const read = (path: string): string => readFileSync(join(projectRoot, path), "utf8");

/** Braces in the text are the text's own. */
const escaped = (text: string): string =>
  text.replaceAll(/[{}]{2,}/g, (braces) => `{{ "${braces}" }}`);

const inNamespace = (text: string): string =>
  text.replaceAll("rota-system", "{{ .Release.Namespace }}");

const underCondition = (condition: string, text: string): string =>
  `{{- if ${condition} }}\n${text.trimEnd()}\n{{- end }}\n`;

/** An uninstallation leaves the definitions: with them would go every object. */
const kept = (definition: string): string =>
  definition.replace(
    /^metadata:\n/m,
    "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n",
  );

function definitions(): GeneratedFile[] {
  return globSync("crds/*.yaml", { cwd: projectRoot })
    .filter((path) => !path.endsWith("kustomization.yaml"))
    .sort()
    .map((path) => ({
      path: `${chart}/templates/${path}`,
      content:
        notice(path) + underCondition(".Values.customResources.enabled", escaped(kept(read(path)))),
    }));
}

/** What of manifests/base a value switches off. */
const conditions: Readonly<Record<string, string>> = {
  "admission-policies.yaml": ".Values.admissionPolicies.enabled",
  "operator-fence.yaml": ".Values.admissionPolicies.enabled",
  "keep-custom-resources.yaml": ".Values.admissionPolicies.enabled",
};
const writtenByHand = new Set(["kustomization.yaml", "namespace.yaml"]);

function base(): GeneratedFile[] {
  return globSync("*.yaml", { cwd: join(projectRoot, "manifests/base") })
    .filter((name) => !writtenByHand.has(name))
    .sort()
    .map((name) => {
      const source = `manifests/base/${name}`;
      const inNamespace = escaped(read(source)).replaceAll(
        "rota-system",
        "{{ .Release.Namespace }}",
      );
      const condition = conditions[name];
      const content =
        condition === undefined ? inNamespace : underCondition(condition, inNamespace);
      return { path: `${chart}/templates/base/${name}`, content: notice(source) + content };
    });
}

const monitoring = "manifests/overlays/monitoring";

/** As the overlay's configMapGenerator makes it. */
const dashboard = (): string => `apiVersion: v1
kind: ConfigMap
metadata:
  name: rota-dashboard
  namespace: rota-system
  labels: { grafana_dashboard: "1" }
data:
  rota.json: |
${read(`${monitoring}/dashboard.json`).replaceAll(/^(?=.)/gm, "    ")}`;

/** The manifests of a folder, all under one condition. */
function optional(
  folder: string,
  condition: string,
  more: readonly (readonly [string, string])[] = [],
): GeneratedFile[] {
  const sources = globSync("*.yaml", { cwd: join(projectRoot, folder) })
    .filter((name) => !writtenByHand.has(name))
    .sort()
    .map((name) => [name, read(`${folder}/${name}`)] as const);
  return [...more, ...sources].map(([name, text]) => ({
    path: `${chart}/templates/${basename(folder)}/${name}`,
    content: notice(folder) + underCondition(condition, inNamespace(escaped(text))),
  }));
}

const monitors = (): GeneratedFile[] =>
  optional(monitoring, ".Values.monitoring.enabled", [["dashboard.yaml", dashboard()]]);

/** Where the API server has the kind; `helm template` knows only what --api-versions says. */
const stamps = (): GeneratedFile[] =>
  optional(
    "manifests/stamping",
    'and .Values.admissionPolicies.enabled (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")',
  );

function about(): GeneratedFile {
  const { version, description, license } = JSON.parse(read("package.json")) as Record<
    string,
    string
  >;
  return {
    path: `${chart}/Chart.yaml`,
    content: `${notice("package.json")}apiVersion: v2
name: rota
type: application
version: ${version}
appVersion: ${version}
description: >-
  ${description}
# ValidatingAdmissionPolicy is stable from there on.
kubeVersion: ">=1.30.0-0"
annotations:
  artifacthub.io/license: ${license}
`,
  };
}

export function generateChart(): Promise<readonly GeneratedFile[]> {
  const schema = `${JSON.stringify(valuesSchema(), undefined, 2)}\n`;
  return Promise.resolve([
    about(),
    { path: `${chart}/values.schema.json`, content: schema },
    ...definitions(),
    ...base(),
    ...monitors(),
    ...stamps(),
  ]);
}
