/** The states of a job in the database, and their names in statuses and the HTTP API. */
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
