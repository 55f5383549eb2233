/** docs/reference/schema.md, from the comments in the database that the migrations make. */
import { Client } from "pg";
import { createEmptyDatabase } from "../../../test/support/database.ts";
import { migrate } from "../../../src/db/client/migrate.ts";
import type { Generator } from "./types.ts";

interface Column {
  readonly relation: string;
  readonly about: string;
  readonly name: string;
  readonly type: string;
  readonly required: boolean;
  readonly text: string;
}

interface Rule {
  readonly relation: string;
  readonly name: string;
  readonly definition: string;
}

async function readColumns(client: Client): Promise<Column[]> {
  const { rows } = await client.query<Column>(`
    SELECT relation.relname AS relation, obj_description(relation.oid, 'pg_class') AS about,
      part.attname AS name, format_type(part.atttypid, part.atttypmod) AS type, part.attnotnull AS required,
      col_description(relation.oid, part.attnum) AS text
    FROM pg_class AS relation
    JOIN pg_attribute AS part ON part.attrelid = relation.oid AND part.attnum > 0 AND NOT part.attisdropped
    WHERE relation.relnamespace = 'public'::regnamespace AND relation.relkind IN ('r', 'v')
      AND relation.relname <> 'migrations'
    ORDER BY relation.relname, part.attnum
  `);
  return rows;
}

/**
 * Constraints but NOT NULL, which stands with its column (and is no constraint before PostgreSQL 18); and unique indexes
 * over a part of a table, which refuse as constraints do.
 */
async function readRules(client: Client): Promise<Rule[]> {
  const { rows } = await client.query<Rule>(`
    SELECT relation, name, definition
    FROM (
      SELECT relation.relname AS relation, rule.conname AS name, rule.contype::text AS kind,
        pg_get_constraintdef(rule.oid) AS definition
      FROM pg_constraint AS rule
      JOIN pg_class AS relation ON relation.oid = rule.conrelid
      WHERE relation.relnamespace = 'public'::regnamespace AND rule.contype IN ('c', 'f', 'p', 'u', 'x')
        AND relation.relname <> 'migrations'
      UNION ALL
      SELECT relation.relname, index.relname, 'u',
        regexp_replace(pg_get_indexdef(index.oid), '^CREATE UNIQUE INDEX .* USING \\w+ ', 'UNIQUE INDEX ')
      FROM pg_index AS part
      JOIN pg_class AS index ON index.oid = part.indexrelid
      JOIN pg_class AS relation ON relation.oid = part.indrelid
      WHERE relation.relnamespace = 'public'::regnamespace AND part.indisunique AND part.indpred IS NOT NULL
    ) AS rules
    ORDER BY relation, kind DESC, name
  `);
  return rows;
}

async function readEnums(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string; labels: string }>(`
    SELECT typname AS name, string_agg(enumlabel, ', ' ORDER BY enumsortorder) AS labels
    FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid
    GROUP BY typname ORDER BY typname
  `);
  return rows.map(({ name, labels }) => `- \`${name}\`: ${labels}`);
}

const cell = (text: string): string => text.replaceAll("|", String.raw`\|`).replaceAll("\n", " ");

function section(relation: string, columns: readonly Column[], rules: readonly Rule[]): string[] {
  const lines = columns.map(
    ({ name, type, required, text }) =>
      `| \`${name}\` | ${cell(type)}${required ? "" : ", may be null"} | ${cell(text)} |`,
  );
  const constraints = rules.map(({ name, definition }) => `- \`${name}\`: \`${cell(definition)}\``);
  return [
    `## ${relation}`,
    "",
    `${columns[0]?.about ?? ""}.`,
    "",
    "| column | type | meaning |",
    "| --- | --- | --- |",
    ...lines,
    "",
    ...(constraints.length === 0 ? [] : [...constraints, ""]),
  ];
}

async function document(client: Client): Promise<string> {
  const columns = Map.groupBy(await readColumns(client), ({ relation }) => relation);
  const rules = Map.groupBy(await readRules(client), ({ relation }) => relation);
  const sections = [...columns].flatMap(([relation, of]) =>
    section(relation, of, rules.get(relation) ?? []),
  );
  const head = [
    "# Schema",
    "",
    "Generated from the comments in migrations/ by `npm run docs`; do not edit.",
    "",
  ];
  const types = ["## Enumerations", "", ...(await readEnums(client)), ""];
  return [...head, ...sections, ...types].join("\n");
}

export const generateSchema: Generator = async () => {
  const database = await createEmptyDatabase();
  const client = new Client({ connectionString: database.url });
  try {
    await migrate(database.url);
    await client.connect();
    return [{ path: "docs/reference/schema.md", content: await document(client) }];
  } finally {
    await client.end();
    await database.drop();
  }
};
