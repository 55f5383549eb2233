/** `npm run audit`: known vulnerabilities of what is installed with the program. Fails, too, when the registry does not say. */
import { spawnSync } from "node:child_process";
import { projectRoot } from "./shell.ts";

const args = ["audit", "--omit=dev", "--audit-level=low", "--json"];
const { stdout, error } = spawnSync("npm", args, { cwd: projectRoot, encoding: "utf8" });
if (error) throw error;

interface Report {
  readonly vulnerabilities?: Readonly<
    Record<string, { readonly name: string; readonly severity: string; readonly range: string }>
  >;
  readonly message?: string;
}
const { vulnerabilities, message } = JSON.parse(stdout) as Report;

if (vulnerabilities === undefined) {
  console.error(
    `nothing was checked: the registry does not answer npm audit (${message ?? "no reason given"})`,
  );
  process.exitCode = 2;
} else {
  const found = Object.values(vulnerabilities);
  for (const { name, severity, range } of found) console.error(`${severity}: ${name} ${range}`);
  console.log(`${found.length} known vulnerabilities in what is installed with the program`);
  process.exitCode = found.length > 0 ? 1 : 0;
}
