/** Makes docs/reference/http-api.md from the OpenAPI document. */
import { openApiDocument } from "../../../src/http/openapi.ts";
import { problems } from "../../../src/http/problem.ts";
import type { GeneratedFile } from "./types.ts";

interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly format?: string;
  readonly description?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly description?: string;
  readonly schema: Schema;
}

interface Operation {
  readonly summary: string;
  readonly parameters: readonly Parameter[];
  readonly responses: {
    readonly "200": { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  };
}

interface Document {
  readonly paths: Readonly<Record<string, { readonly get: Operation }>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const cell = (text: string): string => text.replaceAll("|", String.raw`\|`).replaceAll("\n", " ");

const linkTo = (reference: string): string => {
  const id = reference.slice(reference.lastIndexOf("/") + 1);
  return `[${id}](#${id.toLowerCase()})`;
};

function typeText(schema: Schema): string {
  const { $ref, allOf, anyOf, items, type } = schema;
  if ($ref !== undefined) return linkTo($ref);
  if (allOf !== undefined) return allOf.map(typeText).join(" and ");
  if (anyOf !== undefined) return anyOf.map(typeText).join(" or ");
  if (schema.enum !== undefined)
    return schema.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (type === "array") return `list of ${items === undefined ? "any" : typeText(items)}`;
  if (type === undefined) return "any";
  const names = typeof type === "string" ? [type] : type;
  return `${names.join(" or ")}${schema.format === undefined ? "" : ` (${schema.format})`}`;
}

function limits({ default: usual, minimum, maximum }: Schema): string {
  const parts = [
    minimum !== undefined && `at least ${minimum}`,
    maximum !== undefined && `at most ${maximum}`,
    usual !== undefined && `default ${JSON.stringify(usual)}`,
  ].filter((part) => part !== false);
  return parts.length === 0 ? "" : `, ${parts.join(", ")}`;
}

function operationText([path, { get }]: [string, { readonly get: Operation }]): string {
  const rows = get.parameters.map(
    ({ name, in: place, required, description = "", schema }) =>
      `| \`${name}\` | ${place}${required ? ", required" : ""} | ${cell(typeText(schema) + limits(schema))} | ${cell(description)} |`,
  );
  const answer = get.responses["200"].content["application/json"]?.schema ?? {};
  const table = ["| parameter | in | type | meaning |", "|---|---|---|---|", ...rows, ""];
  return [
    `### GET ${path}`,
    "",
    `${get.summary}. Answers ${typeText(answer)}.`,
    "",
    ...(rows.length === 0 ? [] : table),
  ].join("\n");
}

function schemaText([id, schema]: [string, Schema]): string {
  const rows = Object.entries(schema.properties ?? {}).map(
    ([name, property]) =>
      `| \`${name}\` | ${cell(typeText(property))} | ${cell(property.description ?? "")} |`,
  );
  return [
    `### ${id}`,
    "",
    ...(schema.description === undefined ? [] : [`${schema.description}.`, ""]),
    "| field | type | meaning |",
    "|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

export function generateHttpApiDoc(): Promise<readonly GeneratedFile[]> {
  const { paths, components } = openApiDocument() as unknown as Document;
  const codes = Object.entries(problems).map(
    ([code, { status, title }]) => `| \`${code}\` | ${status} | ${title} |`,
  );
  const content = `# HTTP API

Generated from src/api/http by \`npm run docs\`; do not edit. Every operator serves it, read-only, over TLS; the same as an OpenAPI 3.1 document is at \`/openapi.json\`. Users of the cluster reach it through the API server, at \`/api/v1/namespaces/rota-system/services/https:rota-operator:api/proxy\`; [kubectl rota](cli.md) does. How callers prove who they are and what they may see: [Security](../operations/http-api.md).

Lists come in pages: \`next\` of one page is \`cursor\` of the following, null on the last.

## Operations

${Object.entries(paths).map(operationText).join("\n")}
## Problems

What goes wrong is answered as \`application/problem+json\` (RFC 9457). Codes never change their meaning.

| code | status | meaning |
|---|---|---|
${codes.join("\n")}

## Schemas

${Object.entries(components.schemas).map(schemaText).join("\n")}`;
  return Promise.resolve([{ path: "docs/reference/http-api.md", content }]);
}
