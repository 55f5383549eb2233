/** Metrics of the database client: connections by state, duration and errors of statements. */
import type { Pool } from "pg";
import type { OnStatement } from "../db/client/measured-client.ts";
import type { Metrics } from "../runtime/metrics.ts";

/** Seconds. Few buckets above 1 s: such statements are all too slow. */
const statementBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30];

/** Registers the statement metrics; returns the observer for the client. */
export function statementMetrics(metrics: Metrics): OnStatement {
  const histogram = metrics.histogram({
    name: "db_statement_duration_seconds",
    help: "Duration of database statements, by name or first keyword",
    labelNames: ["statement"],
    buckets: statementBuckets,
  });
  const errors = metrics.counter({
    name: "db_errors_total",
    help: 'Failed database statements, by violated constraint, SQLSTATE or "connection"',
    labelNames: ["error"],
  });
  return (statement, seconds, error) => {
    histogram.observe({ statement }, seconds);
    if (error !== undefined) errors.add({ error });
  };
}

/** Registers the metrics of the connection pool. */
export function poolMetrics(
  metrics: Metrics,
  pool: Pick<Pool, "totalCount" | "idleCount" | "waitingCount">,
): void {
  metrics.gaugeFunction(
    {
      name: "db_pool_connections",
      help: "Database connections, by state (used, idle)",
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
      help: "Callers waiting for a database connection",
      labelNames: [],
    },
    () => [{ labels: {}, value: pool.waitingCount }],
  );
}
