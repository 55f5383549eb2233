export const electionTiming = { leaseSeconds: 4, renewWithinSeconds: 2.5, retrySeconds: 0.5 };
export const lease = { namespace: "default", name: "election-test" };
