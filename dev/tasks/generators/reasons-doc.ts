/** Makes docs/reference/reasons.md: reasons of conditions and events, and the codes of errors. */
import { reasonEntry, reasons } from "../../../src/api/reasons.ts";
import type { Reason, ReasonKind } from "../../../src/api/reasons.ts";
import { constraintErrors, errorMeanings } from "../../../src/errors.ts";
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

function errors(): string {
  const rows = Object.entries(errorMeanings).map(([code, meaning]) => {
    const constraints = Object.entries(constraintErrors)
      .filter(([, mapping]) => mapping.code === code)
      .map(([name]) => `\`${name}\``)
      .toSorted();
    return `| \`${code}\` | ${meaning} | ${constraints.join(", ")} |`;
  });
  return `## Errors

Logs, and conditions of the same name, show these codes. The constraints are those of the database that raise them.

| code | meaning | constraints |
|---|---|---|
${rows.join("\n")}
`;
}

export function generateReasonsDoc(): Promise<readonly GeneratedFile[]> {
  const content = `# Reasons

Why a condition \`Ready\` is as it is, and what events tell of. Generated from src/api/reasons.ts and src/errors.ts by \`npm run docs\`; do not edit.

${kinds.map(section).join("\n")}
${errors()}`;
  return Promise.resolve([{ path: "docs/reference/reasons.md", content }]);
}
