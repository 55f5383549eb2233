/** The result of a scheduling decision: a verdict for every job, and requests to the victim finder. */
import type { Redactable } from "../redaction.ts";
import type { ResourceType } from "../resource-types.ts";
import type { InVain, Placement, Resources } from "./snapshot.ts";

export type VictimRule = "BorrowerReclaimed" | "LowerPriority" | "OwnQuota";

export interface Victim {
  readonly jobId: string;
  readonly key: string;
  readonly attempt: number;
  readonly rule: VictimRule;
  /** The PodDisruptionBudget that no longer protects it; absent: none. */
  readonly pastBudget?: string;
}

/** Another set of victims that was considered, at a higher cost. */
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
  | "AwaitingNodes"
  | "QuotaExceeded"
  | "WindowClosed"
  | "NoQuota"
  | "WindowTooShort"
  | "BehindHeadOfQueue"
  | "BlockedByDisruptionBudget"
  | "EvictionRefused";

export type ReleaseReason = "ReservationExpired" | "NodeUnavailable" | "QuotaExceeded";

export interface AdmitVerdict {
  readonly kind: "admit";
  readonly jobId: string;
  /** Fence: the job's attempt when it was read. */
  readonly attempt: number;
  readonly borrowing: boolean;
  readonly placements: readonly Placement[];
}

/** A reserved job whose placements are free now. */
export interface ActivateVerdict {
  readonly kind: "activate";
  readonly jobId: string;
  readonly attempt: number;
  readonly borrowing: boolean;
  readonly placements: readonly Placement[];
}

/** A reservation to release: it expired, its node is unavailable, or its plans no longer cover it. */
export interface ReleaseVerdict {
  readonly kind: "release";
  readonly jobId: string;
  readonly attempt: number;
  readonly reason: ReleaseReason;
  readonly message: string;
  /** Where the victims did not terminate: avoided for a while. */
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
  /** Names in the message that some readers may not see. */
  readonly redactables?: readonly Redactable[];
  /** Among the waiting jobs; 1 is next. */
  readonly position: number;
}

export type Verdict =
  | AdmitVerdict
  | ActivateVerdict
  | ReleaseVerdict
  | PreemptVerdict
  | WaitVerdict;

/** A node's future room at this point of the decision. */
export interface NodeRoom {
  readonly node: string;
  readonly room: Resources;
}

/** A blocked job as the victim finder needs it. */
export interface VictimRequest {
  readonly jobId: string;
  readonly priority: number;
  readonly perPod: Resources;
  readonly parallelism: number;
  /** The most pods of the gang that one node may have; absent: the whole gang. */
  readonly maxPodsPerNode?: number;
  /** Within quota: it may evict borrowers of any priority and jobs of lower priority. */
  readonly inside: boolean;
  /** Quotas that it exceeds and may relieve by evicting lower priorities; none if within quota or unplanned. */
  readonly over: readonly {
    readonly quotaId: string;
    readonly resourceType: ResourceType;
    /** In the type's unit of demand. */
    readonly excess: number;
  }[];
  /** As a borrower it may still evict borrowers of lower priority. */
  readonly borrows: boolean;
  /** Nodes that match and may gain a pod of the gang; absent if every schedulable node of the pool does. */
  readonly nodes?: readonly string[];
  /** Nodes whose room this decision has changed; not in the database yet. */
  readonly changed: readonly NodeRoom[];
  /** Further nodes that match, where a resource `byName` may be short, and the room there. Absent: none. */
  readonly rooms?: readonly NodeRoom[];
}

export interface Decision {
  readonly verdicts: readonly Verdict[];
  /** Ids of the queued jobs in decision order: each verdict depends on those before it. */
  readonly order: readonly string[];
  /**
   * Blocked jobs that may preempt and for which no victims were searched yet: a few, one per scheduling signature, in
   * decision order. Search victims for them, add them to `victimsFor`, and decide again on the same snapshot.
   */
  readonly wantsVictims: readonly string[];
  /** The finder's requests for the same jobs, in the same order. */
  readonly requests: readonly VictimRequest[];
  /** Blocked jobs for which victims were searched in vain, by id. */
  readonly inVain: ReadonlyMap<string, InVain>;
}
