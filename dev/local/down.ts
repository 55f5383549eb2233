/** `npm run local:down`: stops what local:up started; `-- --delete` also deletes its data. */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runCommand } from "./command.ts";
import { stopRecordedControlPlane } from "./control-plane.ts";
import { removeEnvironment } from "./env-file.ts";
import { withLock } from "./lock.ts";
import { localFolder } from "./paths.ts";
import { removePostgresData, stopRecordedPostgres } from "./postgres.ts";
import { stopRecordedRealNodes } from "./real-nodes/real-nodes.ts";
import { parseDownArguments } from "./settings.ts";

const usage = `npm run local:down -- [--delete]
Stops what local:up started. The data is kept unless --delete is given.`;

await runCommand(usage, async () => {
  const { remove } = parseDownArguments(process.argv.slice(2));
  if (!existsSync(localFolder)) return console.log("Nothing is running.");
  await withLock(join(localFolder, "lock"), () => down(remove));
});

async function down(remove: boolean): Promise<void> {
  const cluster = join(localFolder, "cluster");
  const postgres = join(localFolder, "postgres");
  const stopped = [
    ...(await stopRecordedRealNodes(cluster)),
    ...(await stopRecordedControlPlane(cluster)),
    ...(await stopRecordedPostgres(postgres)),
  ];
  removeEnvironment(localFolder);
  for (const { name, pid } of stopped) console.log(`stopped ${name} (pid ${pid})`);
  if (stopped.length === 0) console.log("Nothing is running.");
  if (!remove) {
    console.log("The data is kept: npm run local:up continues with it; -- --delete deletes it.");
    return;
  }
  removePostgresData(postgres);
  for (const folder of [cluster, join(localFolder, "api")]) {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log("The data is deleted.");
}
