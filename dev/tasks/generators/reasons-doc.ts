/** Makes docs/reference/reasons.md: reasons of conditions and events, and the codes of errors. */
import { reasonEntry, reasons } from "../../../src/api/reasons.ts";
import type { Reason, ReasonKind } from "../../../src/api/reasons.ts";
import { errorCatalogue, errorRow } from "../../../src/db/client/constraint-errors.ts";
import type { ErrorCode } from "../../../src/errors.ts";
import type { GeneratedFile } from "./types.ts";

const kinds: readonly ReasonKind[] = ["Project", "ResourcePlan", "Job", "ConfigCommit"];

function section(kind: ReasonKind): string {
  const rows = (Object.keys(reasons) as Reason[])
    .filter((reason) => reasonEntry(reason).kinds.includes(kind))
    .toSorted()
    .map((reason) => {
      const { meaning, cure } = reasonEntry(reason);
      return `| \`${reason}\` | ${meaning} | ${cure} |`;
    });
  return `## ${kind}\n\n| reason | meaning | what to do |\n|---|---|---|\n${rows.join("\n")}\n`;
}

/** A code that is also a reason has the reason's meaning. */
const meaningOf = (code: ErrorCode): string =>
  errorRow(code).meaning ?? (isReason(code) ? reasonEntry(code).meaning : "");

const isReason = (code: string): code is Reason => Object.hasOwn(reasons, code);

function errors(): string {
  const rows = (Object.keys(errorCatalogue) as ErrorCode[]).map((code) => {
    const { httpStatus = 500, sqlStates = {}, constraints = {}, deletions = {} } = errorRow(code);
    const names = [sqlStates, constraints, deletions].flatMap((one) => Object.values(one).flat());
    const causes = names.map((name) => `\`${name}\``).toSorted();
    return `| \`${code}\` | ${meaningOf(code)} | ${httpStatus} | ${causes.join(", ")} |`;
  });
  return `## Errors

Logs and conditions show these codes. The last columns are the status of the HTTP API, and the SQLSTATEs and constraints of the database that raise the error.

| code | meaning | HTTP status | raised by |
|---|---|---|---|
${rows.join("\n")}
`;
}

export function generateReasonsDoc(): Promise<readonly GeneratedFile[]> {
  const content = `# Reasons

Reasons of conditions and events. Generated from src/api/reasons.ts and src/db/client/constraint-errors.ts by \`npm run docs\`; do not edit.

${kinds.map(section).join("\n")}
${errors()}`;
  return Promise.resolve([{ path: "docs/reference/reasons.md", content }]);
}
