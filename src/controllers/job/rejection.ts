/** Why a job is not queued, and what must change. */
import type { JobReason } from "../../api/reasons.ts";

export interface Rejection {
  readonly reason: JobReason;
  readonly message: string;
}

/** The message names the field, its value and what would be valid. */
export const refuse = (reason: JobReason, message: string): Rejection => ({ reason, message });
