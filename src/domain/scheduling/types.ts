/**
 * The language of a scheduling decision: what the cycle reads (Snapshot) and what it writes (Decision).
 * Everything here is data; the decision itself has no clock, no database and no API server.
 */

import type { Redactable } from "../redaction.ts";

/** An amount of each resource. Whole numbers, so that sums are exact. */
export interface Resources {
  readonly gpus: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly pods: number;
}

/** Kubernetes core/v1 Taint. */
export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}

/** Kubernetes core/v1 Toleration. */
export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}

/** Kubernetes core/v1 NodeSelectorRequirement. */
export interface NodeSelectorRequirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** Kubernetes core/v1 NodeSelectorTerm: all its requirements must hold; one term of a list is enough. */
export interface NodeSelectorTerm {
  readonly matchExpressions?: readonly NodeSelectorRequirement[];
  readonly matchFields?: readonly NodeSelectorRequirement[];
}

export interface NodeSnapshot {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
  /** Ready and not cordoned. */
  readonly schedulable: boolean;
  readonly allocatable: Resources;
  /** All live allocations, those of evicting jobs included. */
  readonly committed: Resources;
  /** Pods that are not Rota's. */
  readonly otherUsage: Resources;
  /** The part of `committed` that belongs to evicting jobs, and to attempts that are being ended. */
  readonly leaving: Resources;
  /** Kept for held jobs. */
  readonly reserved: Resources;
}

export type ResourceType = "GPU" | "CPU";

export interface OwnerRef {
  readonly kind: "User" | "Group";
  readonly name: string;
}

/** What one owner's plans grant in this pool for one resource type (design section 4). */
export interface Quota {
  readonly id: string;
  readonly owner: OwnerRef;
  readonly resourceType: ResourceType;
  /** GPUs or cores in effect now; 0 outside every window. */
  readonly quantity: number;
  /**
   * GPUs or cores (a fraction is possible) of live jobs under it that are inside their plans: held ones count,
   * evicting ones do not.
   */
  readonly usage: number;
  /** The same of those that borrow: they take nothing from the quantity. */
  readonly borrowed: number;
  /** Names of the plans, for messages. */
  readonly plans: readonly string[];
  /** The next opening in words, e.g. "plan vision-weekdays opens Mon 08:00". */
  readonly opensAtText?: string;
  /** Seconds until a window with onWindowClose Evict closes; absent when none is open. */
  readonly evictClosesInSeconds?: number;
  /** When that is, in words: "Tue 20:00". */
  readonly evictClosesAtText?: string;
  /** Closed by a window that evicts: until it opens nothing starts past it, not even as a borrower. */
  readonly isShut?: boolean;
}

/** Where pods of a gang go. */
export interface Placement {
  readonly node: string;
  readonly pods: number;
}

/** The conditions a node must meet for a job's pods. */
export interface NodeConstraints {
  readonly nodeSelector: Readonly<Record<string, string>>;
  /** Required node affinity; absent means no requirement, empty matches no node, as in Kubernetes. */
  readonly affinityTerms?: readonly NodeSelectorTerm[];
  /** From where the storages it mounts can be reached: a list of terms for each that says so, and all must hold. */
  readonly storageTerms?: readonly (readonly NodeSelectorTerm[])[];
  readonly tolerations: readonly Toleration[];
  /** Nodes that lately failed to start this job's pods. */
  readonly avoidNodes: readonly string[];
}

export interface QueuedJob extends NodeConstraints {
  readonly id: string;
  /** namespace/name */
  readonly key: string;
  readonly priority: number;
  readonly queuedAtSeconds: number;
  readonly status: "pending" | "evicted";
  readonly attempt: number;
  /** Pods of the gang. */
  readonly parallelism: number;
  /** Demand of one pod; its `pods` is 1. */
  readonly perPod: Resources;
  readonly allowsBorrowing: boolean;
  /** Its priority class says PreemptLowerPriority. */
  readonly preempts: boolean;
  readonly maxRuntimeSeconds?: number;
  /** Ids of the quotas that count for it. */
  readonly quotas: readonly string[];
  /** Asks for a metered type that no plan on the way up grants: it can only borrow. */
  readonly unplanned: boolean;
  /** Others like it wait behind it and are not in the snapshot. */
  readonly hasMore?: boolean;
}

/** A job whose victims are still leaving. */
export interface ReservedJob {
  readonly id: string;
  readonly key: string;
  readonly priority: number;
  readonly attempt: number;
  readonly placements: readonly Placement[];
  readonly perPod: Resources;
  readonly borrowing: boolean;
  readonly allowsBorrowing: boolean;
  /** Ids of the quotas it counts under. */
  readonly quotas: readonly string[];
  readonly expiresAtSeconds: number;
}

/** A job that runs and could be a victim. */
export interface LiveJob {
  readonly id: string;
  readonly key: string;
  readonly attempt: number;
  readonly priority: number;
  readonly status: "starting" | "running";
  readonly startedAtSeconds: number;
  readonly borrowing: boolean;
  readonly perPod: Resources;
  readonly allocations: readonly Placement[];
  /** Ids of the quotas it counts under: of the types it asks for. */
  readonly quotas: readonly string[];
  /** A PodDisruptionBudget that forbids its eviction for now, as namespace/name. */
  readonly protected?: string;
}

export interface Snapshot {
  readonly pool: string;
  readonly nowSeconds: number;
  readonly nodes: readonly NodeSnapshot[];
  readonly quotas: readonly Quota[];
  /** The claimed jobs, in order: priority descending, queue time, id. */
  readonly queue: readonly QueuedJob[];
  readonly reserved: readonly ReservedJob[];
  /** What the finder proposed so far; absent in the first pass. */
  readonly victims?: readonly LiveJob[];
  /** Ids of the jobs the finder was asked about: only for these is "no victims" a verdict. */
  readonly victimsFor?: readonly string[];
}

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
