/** Makes docs/reference/settings.md: the operator's environment variables. */
import { settingsReference } from "../../../src/settings/variables.ts";
import type { GeneratedFile } from "./types.ts";

export function generateSettingsDoc(): Promise<readonly GeneratedFile[]> {
  const rows = settingsReference.map(
    (entry) => `| \`${entry.name}\` | ${entry.default} | ${entry.meaning} |`,
  );
  const content = `# Settings of the operator

Environment variables. Generated from src/settings/variables.ts by \`npm run docs\`; do not edit.

| variable | default | meaning |
|---|---|---|
${rows.join("\n")}
`;
  return Promise.resolve([{ path: "docs/reference/settings.md", content }]);
}
