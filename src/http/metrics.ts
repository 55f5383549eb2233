/** What is counted of the HTTP API. */
import { durationBuckets, type Metrics } from "../runtime/metrics.ts";

export interface ApiMetrics {
  /** @param operation of the routes, or one of a few other words */
  answered(operation: string, status: number, seconds: number): void;
}

/** @param inFlight questions that are being answered */
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
      help: "Requests to the HTTP API that are being answered",
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
