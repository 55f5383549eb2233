/** The states of a job as the database has them, and as statuses and the HTTP API show them. */
export const jobStates = {
  pending: "Pending",
  reserved: "Reserved",
  starting: "Starting",
  running: "Running",
  evicting: "Evicting",
  evicted: "Evicted",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
} as const;

export type JobStatusName = keyof typeof jobStates;
