/**
 * One candidate of the leader election test, a process of its own: election-candidate.ts KUBECONFIG DATABASE_URL IDENTITY.
 * While it leads it writes heartbeats as fast as PostgreSQL takes them; it tells its parent whom it sees holding the lease.
 * Ends with the process that forked it.
 */
import { Client } from "pg";
import { loadCredentialsFromFile } from "../../../src/kube/credentials.ts";
import { KubeClient } from "../../../src/kube/client.ts";
import { KubeLeaseLock } from "../../../src/kube/lease-lock.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { LeaderElection } from "../../../src/runtime/lease.ts";
import type { Leadership } from "../../../src/runtime/lease.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { electionTiming, lease } from "./election-timing.ts";

const [kubeconfig = "", databaseUrl = "", identity = ""] = process.argv.slice(2);
const heartbeatEverySeconds = 0.02;

/** Every attempt is recorded with the server's time; it counts only when no later term has written. */
const heartbeat = `
  WITH term AS (
    UPDATE election_fence
       SET fence = $2
     WHERE fence <= $2
    RETURNING fence
  )
  INSERT INTO election_heartbeats (identity, fence, accepted)
  SELECT $1, $2, EXISTS (SELECT FROM term)`;

const database = new Client({ connectionString: databaseUrl, statement_timeout: 10_000 });
await database.connect();
const client = new KubeClient({
  credentials: loadCredentialsFromFile(kubeconfig),
  clock: systemClock,
  name: identity,
});

async function lead(leadership: Leadership): Promise<void> {
  while (leadership.isValid() && !leadership.stopping.aborted) {
    await database.query(heartbeat, [identity, leadership.fence]);
    await systemClock.sleep(heartbeatEverySeconds);
  }
}

const stop = new AbortController();
process.on("SIGTERM", () => stop.abort(new Error("SIGTERM")));
process.on("disconnect", () => process.exit(1));
const election = new LeaderElection({
  lock: new KubeLeaseLock(client, lease),
  identity,
  clock: systemClock,
  logger: silentLogger,
  ...electionTiming,
  lead,
});
let told = "";
const telling = setInterval(() => {
  if (election.holder === told) return;
  told = election.holder;
  process.send?.(told);
}, 50);
await election.run(stop.signal);
clearInterval(telling);
await database.end();
await client.close();
process.exit(0);
