/** Why a job is not queued, and what has to change. */
import type { JobReason } from "../../api/reasons.ts";

export interface Rejection {
  readonly reason: JobReason;
  readonly message: string;
}

export const refuse = (reason: JobReason, message: string): Rejection => ({ reason, message });
