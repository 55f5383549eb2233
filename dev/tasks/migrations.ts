/**
 * `node dev/tasks/migrations.ts`: a migration takes nothing away that the release before may use while it still runs, or
 * says which operators are to be stopped first. Part of `npm run check`.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./shell.ts";

/** As in `-- contract: stop operators older than 0.3.0`. */
const contract = /^-- contract: stop operators older than \d+\.\d+\.\d+$/m;

/** What statements of an older program may name, or rely on. Triggers, indices and constraints are not among it. */
const taking: readonly RegExp[] = [
  /\bDROP\s+(?:TABLE|VIEW|MATERIALIZED\s+VIEW|TYPE|DOMAIN|SCHEMA)\b/i,
  /\bDROP\s+COLUMN\b/i,
  /\bRENAME\b/i,
  /\bALTER\s+COLUMN\s+\S+\s+(?:SET\s+DATA\s+)?TYPE\b/i,
  /\bALTER\s+COLUMN\s+\S+\s+(?:SET\s+NOT\s+NULL|DROP\s+DEFAULT)\b/i,
];
const droppedFunction = /\bDROP\s+FUNCTION\s+(?:IF\s+EXISTS\s+)?(\w+)/gi;

/** Comments and texts may say what statements must not. */
const statementsOf = (sql: string): string =>
  sql.replaceAll(/--.*$|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'/gm, " ");

const isMadeAgain = (sql: string, name: string): boolean =>
  new RegExp(`\\bCREATE\\s+(?:OR\\s+REPLACE\\s+)?FUNCTION\\s+${name}\\b`, "i").test(sql);

/** What of a migration an older program would miss, in its own words. */
export function takenAway(sql: string): string[] {
  const statements = statementsOf(sql);
  const found = taking.flatMap((pattern) => pattern.exec(statements)?.[0] ?? []);
  const functions = [...statements.matchAll(droppedFunction)]
    .filter(([, name = ""]) => !isMadeAgain(statements, name))
    .map(([text]) => text);
  return [...found, ...functions].map((text) => text.replaceAll(/\s+/g, " "));
}

export const isContract = (sql: string): boolean => contract.test(sql);

if (import.meta.main) {
  const files = globSync("migrations/*.sql", { cwd: projectRoot }).sort();
  const refused = files
    .map((file) => [file, readFileSync(join(projectRoot, file), "utf8")] as const)
    .filter(([, sql]) => !isContract(sql) && takenAway(sql).length > 0);
  for (const [file, sql] of refused) console.error(`${file}: ${takenAway(sql).join(", ")}`);
  if (refused.length > 0) {
    console.error(
      'The operator of the release before may still run then (docs/operations/upgrade.md): take away in a later release what is no longer used, or write "-- contract: stop operators older than X.Y.Z" into the file.',
    );
    process.exitCode = 1;
  }
}
