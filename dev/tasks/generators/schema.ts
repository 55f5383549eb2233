/** docs/reference/schema.sql: the whole schema, read from the catalogs of a database that the migrations made. */
import { Client } from "pg";
import { createEmptyDatabase } from "../../../test/support/database.ts";
import { migrate } from "../../../src/db/client/migrate.ts";
import type { Generator } from "./types.ts";

/** Objects of extensions, and the table of postgres-migrations, are not part of the schema. */
const isOwn = (oid: string): string =>
  `NOT EXISTS (SELECT FROM pg_depend WHERE objid = ${oid} AND deptype = 'e')`;
const isTable =
  "relation.relnamespace = 'public'::regnamespace AND relation.relname <> 'migrations'";

interface Column {
  readonly relation: string;
  readonly name: string;
  readonly type: string;
  readonly suffix: string;
  readonly comment: string;
}

const readColumns = `
  SELECT relation.relname AS relation, part.attname AS name, format_type(part.atttypid, part.atttypmod) AS type,
    concat(
      CASE WHEN part.attnotnull THEN ' NOT NULL' END,
      CASE
        WHEN part.attidentity <> '' THEN ' GENERATED ALWAYS AS IDENTITY'
        WHEN part.attgenerated <> '' THEN ' GENERATED ALWAYS AS (' || pg_get_expr(value.adbin, value.adrelid, true) || ') STORED'
        WHEN value.oid IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(value.adbin, value.adrelid, true)
      END
    ) AS suffix,
    col_description(relation.oid, part.attnum) AS comment
  FROM pg_class AS relation
  JOIN pg_attribute AS part ON part.attrelid = relation.oid AND part.attnum > 0 AND NOT part.attisdropped
  LEFT JOIN pg_attrdef AS value ON value.adrelid = relation.oid AND value.adnum = part.attnum
  WHERE ${isTable} AND relation.relkind IN ('r', 'v')
  ORDER BY relation.relname, part.attnum`;

interface Part {
  readonly relation: string;
  readonly definition: string;
}

/** All but NOT NULL, which stands with its column (and is no constraint before PostgreSQL 18). */
const readConstraints = `
  SELECT relation.relname AS relation,
    'CONSTRAINT ' || rule.conname || ' ' || pg_get_constraintdef(rule.oid, true) AS definition
  FROM pg_constraint AS rule
  JOIN pg_class AS relation ON relation.oid = rule.conrelid
  WHERE ${isTable} AND rule.contype IN ('c', 'f', 'p', 'u', 'x')
  ORDER BY relation.relname, array_position('{p,u,x,f,c}', rule.contype::text), rule.conname`;

/** All but those that belong to a constraint. */
const readIndexes = `
  SELECT relation.relname AS relation, pg_get_indexdef(part.indexrelid, 0, true) AS definition
  FROM pg_index AS part
  JOIN pg_class AS relation ON relation.oid = part.indrelid
  WHERE ${isTable} AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = part.indexrelid AND contype IN ('p', 'u', 'x'))
  ORDER BY relation.relname, part.indexrelid::regclass::text`;

const readTriggers = `
  SELECT relation.relname AS relation, pg_get_triggerdef(trigger.oid, true) AS definition
  FROM pg_trigger AS trigger
  JOIN pg_class AS relation ON relation.oid = trigger.tgrelid
  WHERE ${isTable} AND NOT trigger.tgisinternal
  ORDER BY relation.relname, trigger.tgname`;

interface Relation {
  readonly name: string;
  readonly comment: string;
  readonly isView: boolean;
  readonly definition: string;
  /** With "WITH", as "fillfactor=50". */
  readonly options: readonly string[];
}

const readRelations = `
  SELECT relname AS name, obj_description(relation.oid, 'pg_class') AS comment, relkind = 'v' AS "isView",
    CASE relkind WHEN 'v' THEN pg_get_viewdef(relation.oid, true) ELSE '' END AS definition,
    coalesce(reloptions, '{}') AS options
  FROM pg_class AS relation
  WHERE ${isTable} AND relkind IN ('r', 'v')
  ORDER BY relname`;

interface Routine {
  readonly comment: string;
  readonly definition: string;
  readonly isTrigger: boolean;
}

const readRoutines = `
  SELECT pg_get_functiondef(oid) AS definition, obj_description(oid, 'pg_proc') AS comment,
    prorettype = 'trigger'::regtype AS "isTrigger"
  FROM pg_proc
  WHERE pronamespace = 'public'::regnamespace AND ${isOwn("pg_proc.oid")}
  ORDER BY proname`;

const readEnums = `
  SELECT 'CREATE TYPE ' || typname || ' AS ENUM ('
    || string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) || ');' AS definition
  FROM pg_enum
  JOIN pg_type ON pg_type.oid = enumtypid
  GROUP BY typname
  ORDER BY typname`;

const readExtensions = `
  SELECT 'CREATE EXTENSION ' || extname || ';' AS definition
  FROM pg_extension
  WHERE extname <> 'plpgsql'
  ORDER BY extname`;

/** The table's content is part of the schema: the state machine. */
const readTransitions = `
  SELECT format('  (%L, %L)', from_status, to_status) AS definition
  FROM job_transitions
  ORDER BY from_status, to_status`;

const rowsOf = async <Row extends object>(client: Client, query: string): Promise<Row[]> =>
  (await client.query<Row>(query)).rows;

const definitionsOf = async (client: Client, query: string): Promise<string[]> =>
  (await rowsOf<{ definition: string }>(client, query)).map(({ definition }) => definition);

/** Comments of a table stand in one column; above a definition that reaches beyond it. */
const maxDefinition = 60;

/** The lines of a CREATE TABLE, separated by commas, each column with its comment. */
function tableLines(columns: readonly Column[], constraints: readonly string[]): string[] {
  const lines = [
    ...columns.map(({ name, type, suffix, comment }) => ({
      text: `  ${name} ${type}${suffix.replaceAll(/\s+/g, " ")}`,
      comment,
    })),
    ...constraints.map((text) => ({ text: `  ${text}`, comment: undefined })),
  ].map(({ text, comment }, index, { length }) => ({
    text: index + 1 < length ? `${text},` : text,
    comment,
  }));
  const lengths = lines.flatMap(({ text, comment }) =>
    comment === undefined || text.length > maxDefinition ? [] : text.length,
  );
  const width = Math.max(...lengths);
  return lines.map(({ text, comment }) => {
    if (comment === undefined) return text;
    if (text.length > width) return `  -- ${comment}\n${text}`;
    return `${text.padEnd(width)} -- ${comment}`;
  });
}

function table(
  { name, options }: Relation,
  columns: readonly Column[],
  constraints: readonly string[],
): string {
  const storage = options.length === 0 ? "" : `\nWITH (${options.join(", ")})`;
  return `CREATE TABLE ${name} (\n${tableLines(columns, constraints).join("\n")}\n)${storage};`;
}

/** Indexes and triggers come from PostgreSQL in one line. */
const broken = (definition: string): string =>
  definition.replaceAll(
    / (?=REFERENCING |FOR EACH |WHEN \(|EXECUTE FUNCTION |INCLUDE \(|WHERE )/g,
    "\n  ",
  );

const view = ({ name, definition }: Relation, columns: readonly Column[]): string =>
  [
    ...columns.map((column) => `--   ${column.name} ${column.type}: ${column.comment}`),
    `CREATE VIEW ${name} AS`,
    definition,
  ].join("\n");

const routine = ({ comment, definition }: Routine): string =>
  `-- ${comment}.\n${definition.replace("CREATE OR REPLACE", "CREATE").trimEnd()};`;

const heading = (text: string): string => `-- ${text}\n-- ${"-".repeat(text.length)}`;

type PartsByRelation = ReadonlyMap<string, readonly Part[]>;

async function partsOf(client: Client, query: string): Promise<PartsByRelation> {
  return Map.groupBy(await rowsOf<Part>(client, query), ({ relation }) => relation);
}

const definitionsIn = (parts: PartsByRelation, relation: string): string[] =>
  (parts.get(relation) ?? []).map(({ definition }) => definition);

async function relations(client: Client): Promise<string[]> {
  const columns = Map.groupBy(
    await rowsOf<Column>(client, readColumns),
    ({ relation }) => relation,
  );
  const constraints = await partsOf(client, readConstraints);
  const indexes = await partsOf(client, readIndexes);
  const triggers = await partsOf(client, readTriggers);
  const all = await rowsOf<Relation>(client, readRelations);
  return all.map((relation) => {
    const { name, comment, isView } = relation;
    const own = columns.get(name) ?? [];
    const definition = isView
      ? view(relation, own)
      : table(relation, own, definitionsIn(constraints, name));
    const rest = [...definitionsIn(indexes, name), ...definitionsIn(triggers, name)];
    return [`-- ${comment}.`, definition, ...rest.map((one) => `${broken(one)};`)].join("\n");
  });
}

async function document(client: Client): Promise<string> {
  const routines = await rowsOf<Routine>(client, readRoutines);
  const transitions = await definitionsOf(client, readTransitions);
  const sections = [
    "-- Generated from migrations/ by `npm run generate`; do not edit. For reading: the migrations create the schema.",
    [
      heading("Extensions and types"),
      ...(await definitionsOf(client, readExtensions)),
      ...(await definitionsOf(client, readEnums)),
    ].join("\n"),
    heading("Tables and views"),
    ...(await relations(client)),
    heading("Allowed changes of status"),
    `INSERT INTO job_transitions (from_status, to_status) VALUES\n${transitions.join(",\n")};`,
    heading("Functions"),
    ...routines.filter(({ isTrigger }) => !isTrigger).map(routine),
    heading("Trigger functions"),
    ...routines.filter(({ isTrigger }) => isTrigger).map(routine),
  ];
  return `${sections.join("\n\n").replaceAll("public.", "")}\n`;
}

export const generateSchema: Generator = async () => {
  const database = await createEmptyDatabase();
  const client = new Client({ connectionString: database.url });
  try {
    await migrate(database.url);
    await client.connect();
    return [{ path: "docs/reference/schema.sql", content: await document(client) }];
  } finally {
    await client.end();
    await database.drop();
  }
};
