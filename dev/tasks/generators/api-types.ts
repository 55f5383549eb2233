/** Makes src/api/generated.ts: TypeScript types of the custom resources, from the schemas in crds/. */
import { compile } from "json-schema-to-typescript";
import type { JSONSchema } from "json-schema-to-typescript";
import { readDefinitions } from "./definitions.ts";
import type { GeneratedFile } from "./types.ts";

interface Schema {
  properties?: Record<string, Schema>;
  items?: Schema;
  default?: unknown;
  required?: string[];
  type?: string;
  description?: string;
  additionalProperties?: boolean;
  [extension: string]: unknown;
}

interface CustomResourceDefinition {
  spec: {
    names: { kind: string };
    versions: { schema: { openAPIV3Schema: Schema } }[];
  };
}

const header =
  "/** Types of Rota's custom resources. Generated from crds/ by `npm run generate`; do not edit. */\n";

/** A field with a default is always there in what the API server returns; objects are closed unless they keep unknown fields. */
function asReturnedByServer(schema: Schema): Schema {
  const properties = Object.entries(schema.properties ?? {});
  const defaulted = properties.filter(([, value]) => value.default !== undefined);
  const {
    "x-kubernetes-validations": _rules,
    "x-kubernetes-preserve-unknown-fields": open,
    ...rest
  } = schema;
  if (rest.type === undefined && open === true) return { ...rest, tsType: "unknown" };
  if (rest.type !== "object") {
    return rest.items ? { ...rest, items: asReturnedByServer(rest.items) } : rest;
  }
  return {
    ...rest,
    additionalProperties: open === true,
    required: [...new Set([...(rest.required ?? []), ...defaulted.map(([name]) => name)])],
    properties: Object.fromEntries(
      properties.map(([name, value]) => [name, asReturnedByServer(value)]),
    ),
  };
}

async function typesOf(definition: CustomResourceDefinition): Promise<string> {
  const { kind } = definition.spec.names;
  const schema = definition.spec.versions[0]?.schema.openAPIV3Schema.properties ?? {};
  const parts = (["spec", "status"] as const).map((part) => {
    const name = `${kind}${part === "spec" ? "Spec" : "Status"}`;
    return compile(asReturnedByServer(schema[part] ?? {}) as JSONSchema, name, {
      bannerComment: "",
      format: false,
      // A bounded array would become a union of tuples of every length.
      ignoreMinAndMaxItems: true,
    });
  });
  return (await Promise.all(parts)).join("\n");
}

export async function generateApiTypes(): Promise<readonly GeneratedFile[]> {
  const definitions = readDefinitions<CustomResourceDefinition>();
  const types = await Promise.all(definitions.map(typesOf));
  return [{ path: "src/api/generated.ts", content: header + types.join("\n") }];
}
