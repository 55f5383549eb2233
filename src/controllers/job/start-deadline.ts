import type { JobReconcile } from "./context.ts";
import { ofAttempt } from "./gang.ts";

/** When all pods of a starting gang must run; undefined while its init containers run, or if the job does not start. */
export function startDeadlineOf(
  gang: Pick<JobReconcile, "context" | "uid" | "view" | "pods">,
): Temporal.Instant | undefined {
  const { context, uid, view } = gang;
  if (view.status !== "starting") return undefined;
  const startedAt = view.startedAt ?? context.clock.now();
  const begun = context.startClock.beginsAt(uid, startedAt, ofAttempt(gang));
  return begun?.add({ seconds: context.settings.startDeadlineSeconds });
}
