/** Points at which an operator can kill itself: ROTA_CRASH_POINT=name, or name:hit for the nth time there. */

/** In the order in which a job passes them in the cycle and in its controller. */
export const crashPoints = [
  "claimed",
  "decided",
  "cycle-committed",
  "preemption-committed",
  "before-config-map",
  "config-map-created",
  "pod-created",
  "pods-created",
  "before-running",
  "before-success",
  "before-end",
  "before-eviction",
  "after-eviction",
  "before-evicted",
  "before-cancel",
] as const;

/** The points after which the database and the cluster differ most; `npm run soak` tries all of them. */
const worstCrashPoints: ReadonlySet<string> = new Set([
  "cycle-committed",
  "preemption-committed",
  "pod-created",
  "after-eviction",
  "before-cancel",
]);

/** Those to try: the worst, or all with ROTA_CRASH_POINTS=all. */
export const crashPointsToTry = crashPoints.filter(
  (point) => process.env["ROTA_CRASH_POINTS"] === "all" || worstCrashPoints.has(point),
);
