/** Where an operator can be told to kill itself: ROTA_CRASH_POINT=name, or name:hit for a later time there. */

/** In the order of a job's way through the cycle and its controller. */
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
