/** Metrics of the HTTP API. */
import { durationBuckets, type Metrics } from "../runtime/metrics.ts";

export interface ApiMetrics {
  /** @param operation a route's name, or one of a few other labels */
  answered(operation: string, status: number, seconds: number): void;
}

/** @param inFlight returns the number of requests in flight */
export function createApiMetrics(metrics: Metrics, inFlight: () => number): ApiMetrics {
  const requests = metrics.counter({
    name: "http_requests_total",
    help: "Requests to the HTTP API by operation and status",
    labelNames: ["operation", "code"],
  });
  const durations = metrics.histogram({
    name: "http_request_duration_seconds",
    help: "Duration of requests to the HTTP API",
    labelNames: ["operation"],
    buckets: durationBuckets,
  });
  metrics.gaugeFunction(
    {
      name: "http_requests_in_flight",
      help: "Requests to the HTTP API in flight",
      labelNames: [],
    },
    () => [{ labels: {}, value: inFlight() }],
  );
  return {
    answered: (operation, status, seconds) => {
      requests.add({ operation, code: String(status) });
      durations.observe({ operation }, seconds);
    },
  };
}
