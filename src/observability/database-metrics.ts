/** What the connection pool shows: connections by what they do, and the time of each statement. */
import type { Pool } from "pg";
import type { OnStatement } from "../db/client/measured-client.ts";
import type { Metrics } from "../runtime/metrics.ts";

/** Seconds; statements that take longer than a second are all too slow. */
const statementBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];

export function statementMetrics(metrics: Metrics): OnStatement {
  const histogram = metrics.histogram({
    name: "db_statement_duration_seconds",
    help: "Time of a statement from its sending to its answer, by its name or first word",
    labelNames: ["statement"],
    buckets: statementBuckets,
  });
  const errors = metrics.counter({
    name: "db_errors_total",
    help: "Statements that failed, by the constraint that refused them, else the SQLSTATE, else connection",
    labelNames: ["error"],
  });
  return (statement, seconds, error) => {
    histogram.observe({ statement }, seconds);
    if (error !== undefined) errors.add({ error });
  };
}

export function poolMetrics(
  metrics: Metrics,
  pool: Pick<Pool, "totalCount" | "idleCount" | "waitingCount">,
): void {
  metrics.gaugeFunction(
    {
      name: "db_pool_connections",
      help: "Connections to the database, in use and idle",
      labelNames: ["state"],
    },
    () => [
      { labels: { state: "used" }, value: pool.totalCount - pool.idleCount },
      { labels: { state: "idle" }, value: pool.idleCount },
    ],
  );
  metrics.gaugeFunction(
    {
      name: "db_pool_waiting",
      help: "Callers that wait for a connection",
      labelNames: [],
    },
    () => [{ labels: {}, value: pool.waitingCount }],
  );
}
