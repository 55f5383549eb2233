/** Makes docs/reference/resources.md: every field of the custom resources, from the schemas in crds/. */
import { readDefinitions } from "./definitions.ts";
import type { GeneratedFile } from "./types.ts";

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

interface CustomResourceDefinition {
  readonly spec: {
    readonly scope: string;
    readonly names: { readonly kind: string; readonly shortNames: readonly string[] };
    readonly versions: readonly {
      readonly name: string;
      readonly schema: { readonly openAPIV3Schema: Schema };
    }[];
  };
}

function limitsOf(schema: Schema): string {
  return [
    schema.enum && schema.enum.join(", "),
    schema.minimum !== undefined && `at least ${schema.minimum}`,
    schema.maximum !== undefined && `at most ${schema.maximum}`,
    schema.default !== undefined && `default ${JSON.stringify(schema.default)}`,
  ]
    .filter((part) => typeof part === "string")
    .join("; ");
}

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");

function rows(path: string, schema: Schema, isRequired: boolean): string[] {
  const own = `| \`${path}\` | ${schema.type ?? "any"}${isRequired ? ", required" : ""} | ${cell(limitsOf(schema))} | ${cell(schema.description ?? "")} |`;
  const inner = schema.items ?? schema;
  const prefix = schema.items ? `${path}[]` : path;
  const below = Object.entries(inner.properties ?? {}).flatMap(([name, property]) =>
    rows(`${prefix}.${name}`, property, inner.required?.includes(name) ?? false),
  );
  return [own, ...below];
}

function page(definition: CustomResourceDefinition): string {
  const { names, scope, versions } = definition.spec;
  const schema = versions[0]?.schema.openAPIV3Schema;
  const { spec = {}, status = {} } = schema?.properties ?? {};
  return `## ${names.kind}

${schema?.description ?? ""} ${scope}; short name \`${names.shortNames.join(", ")}\`.

| field | type | values | meaning |
|---|---|---|---|
${[...rows("spec", spec, true), ...rows("status", status, false)].join("\n")}
`;
}

export function generateResourcesDoc(): Promise<readonly GeneratedFile[]> {
  const definitions = readDefinitions<CustomResourceDefinition>();
  const content = `# Custom resources\n\nGenerated from crds/ by \`npm run docs\`; do not edit.\n\n${definitions.map(page).join("\n")}`;
  return Promise.resolve([{ path: "docs/reference/resources.md", content }]);
}
