/** `npm run check`: types, lint, format, layering, licences, migrations, generated files, links; runs all of them and fails when any fails. */
import { run } from "./shell.ts";

const checks: Readonly<Record<string, readonly [string, ...string[]]>> = {
  types: ["tsc", "--project", "."],
  lint: ["oxlint", "--type-aware", "--deny-warnings", "src", "test", "dev", "bench"],
  format: ["oxfmt", "--check", "src", "test", "dev", "bench"],
  layering: ["depcruise", "--config", ".dependency-cruiser.mjs", "src"],
  licences: ["node", "dev/tasks/licences.ts"],
  migrations: ["node", "dev/tasks/migrations.ts"],
  "generated files": ["node", "dev/tasks/generate.ts", "--check"],
  links: ["node", "dev/tasks/links.ts"],
};

const failed = Object.entries(checks).filter(([name, [command, ...args]]) => {
  console.log(`== ${name}`);
  return run(command, args) !== 0;
});
for (const [name] of failed) console.error(`check failed: ${name}`);
process.exitCode = failed.length > 0 ? 1 : 0;
