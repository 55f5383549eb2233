/** What a scheduling decision comes to: a verdict for every job, and the jobs about which the victim finder is to be asked. */
import type { Redactable } from "../redaction.ts";
import type { Placement, ResourceType, Resources } from "./snapshot.ts";

export type VictimRule = "BorrowerReclaimed" | "LowerPriority" | "OwnQuota";

export interface Victim {
  readonly jobId: string;
  readonly key: string;
  readonly attempt: number;
  readonly rule: VictimRule;
}

/** Another set of victims that was considered and cost more. */
export interface Alternative {
  readonly description: string;
  readonly victims: readonly string[];
  readonly pods: number;
}

export type WaitReason =
  | "InsufficientCapacity"
  | "AwaitingRelease"
  | "CapacityReserved"
  | "NoMatchingNode"
  | "TooLargeForPool"
  | "QuotaExceeded"
  | "WindowClosed"
  | "NoQuota"
  | "WindowTooShort"
  | "BehindHeadOfQueue"
  | "BlockedByDisruptionBudget";

export type ReleaseReason = "ReservationExpired" | "NodeUnavailable" | "QuotaExceeded";

export interface AdmitVerdict {
  readonly kind: "admit";
  readonly jobId: string;
  /** Fence: the job's attempt when it was read. */
  readonly attempt: number;
  readonly borrowing: boolean;
  readonly placements: readonly Placement[];
}

/** A held job whose placements are physically free now. */
export interface ActivateVerdict {
  readonly kind: "activate";
  readonly jobId: string;
  readonly attempt: number;
  readonly borrowing: boolean;
  readonly placements: readonly Placement[];
}

/** A hold to be given back: its deadline passed, its node is gone, or its plans grant it no more. */
export interface ReleaseVerdict {
  readonly kind: "release";
  readonly jobId: string;
  readonly attempt: number;
  readonly reason: ReleaseReason;
  readonly message: string;
  /** Where the victims did not leave: not to be tried again for a while. */
  readonly avoidNodes: readonly string[];
}

export interface PreemptVerdict {
  readonly kind: "preempt";
  readonly jobId: string;
  readonly attempt: number;
  readonly borrowing: boolean;
  readonly placements: readonly Placement[];
  readonly victims: readonly Victim[];
  /** For the preemption log: preemptor, rule, numbers. */
  readonly reason: string;
  readonly alternatives: readonly Alternative[];
}

export interface WaitVerdict {
  readonly kind: "wait";
  readonly jobId: string;
  readonly reason: WaitReason;
  readonly message: string;
  /** What the message names beside the job itself. */
  readonly redactables?: readonly Redactable[];
  /** 1 is the next in line among those that wait. */
  readonly position: number;
}

export type Verdict =
  | AdmitVerdict
  | ActivateVerdict
  | ReleaseVerdict
  | PreemptVerdict
  | WaitVerdict;

/** A node's room as the decision sees it. */
export interface NodeRoom {
  readonly node: string;
  readonly room: Resources;
}

/** What the finder must know about a job that wants victims. */
export interface VictimRequest {
  readonly jobId: string;
  readonly priority: number;
  readonly perPod: Resources;
  readonly parallelism: number;
  /** Inside its plans: it may evict borrowers of any priority and jobs of lower priority. */
  readonly inside: boolean;
  /** Quotas it exceeds and may relieve by evicting lower priorities inside them; none when inside or without a plan. */
  readonly over: readonly {
    readonly quotaId: string;
    readonly resourceType: ResourceType;
    /** GPUs, or CPU millicores. */
    readonly excess: number;
  }[];
  /** Outside its plans it may still evict borrowers of lower priority. */
  readonly borrows: boolean;
  /** Nodes that accept its pods; absent when every schedulable node of the pool does. */
  readonly nodes?: readonly string[];
  /** Nodes whose room this decision changed already: the database does not know of it yet. */
  readonly changed: readonly NodeRoom[];
}

export interface Decision {
  readonly verdicts: readonly Verdict[];
  /** Ids of the queue's jobs in the order in which they were decided: each leans on what became of those before it. */
  readonly order: readonly string[];
  /**
   * Jobs that are blocked, may preempt, and about which the finder was not asked: a few, one of each kind, in
   * the order of the decision. Ask it about them, add them to `victimsFor`, and decide again on the same snapshot.
   */
  readonly wantsVictims: readonly string[];
  /** The same jobs, in the same order, as the finder wants them described. */
  readonly requests: readonly VictimRequest[];
}
