/** The input of a scheduling decision: plain data, since decisions have no clock, database or API server. */
import type { ResourceType } from "../resource-types.ts";
import type { QuotaInUse } from "../namespace-quota.ts";
import type { PodUsage } from "../pod-usage.ts";

/** Amounts by the Kubernetes name of their resource: bytes of ephemeral-storage and hugepages-*, otherwise units. */
export type Amounts = Readonly<Record<string, number>>;

/** An amount of each resource, in integers, so that sums are exact. */
export interface Resources {
  readonly gpus: number;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly pods: number;
  /** Every other resource, and exclusive ones less the one that every node has; absent: none. */
  readonly byName?: Amounts;
  /** Of a demand: GPUs of other vendors, which `byName` has by their names and quotas count as GPUs; absent: none. */
  readonly otherGpus?: number;
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

/** Kubernetes core/v1 NodeSelectorTerm: its requirements are ANDed, the terms of a list are ORed. */
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
  /** GPUs of the node that its device plugin reports as unhealthy; not in `allocatable`. */
  readonly unhealthyGpus: number;
  /** The same of other devices; absent: none. */
  readonly unhealthyByName?: Amounts;
  /** All live allocations, those of terminating pods included. */
  readonly committed: Resources;
  /** Used by pods that are not Rota's. */
  readonly otherUsage: Resources;
  /** The part of `committed` whose attempts are being stopped. */
  readonly leaving: Resources;
  /** Reserved for jobs whose victims are terminating. */
  readonly reserved: Resources;
}

export interface OwnerRef {
  readonly kind: "User" | "Group";
  readonly name: string;
}

/** A close of a window with onWindowClose Evict. */
export interface QuotaClose {
  readonly inSeconds: number;
  /** "Tue 20:00" */
  readonly atText: string;
  /** In effect after it. */
  readonly quantity: number;
}

/** What one owner's plans grant now, of one resource type in this pool (docs/design.md, "Quota"). */
export interface Quota {
  readonly id: string;
  readonly owner: OwnerRef;
  readonly resourceType: ResourceType;
  /** In effect now, in GPUs, cores, GiB or devices; 0 outside every window. */
  readonly quantity: number;
  /**
   * Of live jobs within quota, in the same unit, possibly fractional. Reserved jobs count, evicting ones do not.
   */
  readonly usage: number;
  /** The same of borrowing jobs, which use up none of the quantity. */
  readonly borrowed: number;
  /** The same of jobs within quota that are being evicted or end: nothing starts in their place until their pods are gone. */
  readonly leaving: number;
  /** Names of the plans, for messages. */
  readonly plans: readonly string[];
  /** The next opening, e.g. "plan vision-weekdays opens Mon 08:00". */
  readonly opensAtText?: string;
  /** The closes to come with onWindowClose Evict, in order; absent: none. */
  readonly evictCloses?: readonly QuotaClose[];
  /** Closed with onWindowClose: Evict: until it opens, no job starts over the quota, not even as a borrower. */
  readonly isShut?: boolean;
}

/** Pods of a gang on one node. */
export interface Placement {
  readonly node: string;
  readonly pods: number;
}

/** Kubernetes core/v1 PreferredSchedulingTerm. */
export interface PreferredTerm {
  /** 1 to 100. */
  readonly weight: number;
  readonly preference: NodeSelectorTerm;
}

/** What a node must satisfy to run a job's pods, and what decides among nodes that are equally good otherwise. */
export interface NodeConstraints {
  readonly nodeSelector: Readonly<Record<string, string>>;
  /** Required node affinity; absent means no requirement, empty matches no node, as in Kubernetes. */
  readonly affinityTerms?: readonly NodeSelectorTerm[];
  /** Preferred node affinity; absent: none. */
  readonly preferredTerms?: readonly PreferredTerm[];
  /** Where its storages can be reached: a list of terms per restricted storage; the lists are ANDed. */
  readonly storageTerms?: readonly (readonly NodeSelectorTerm[])[];
  readonly tolerations: readonly Toleration[];
  /** Nodes that recently failed to start this job's pods. */
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
  /** What one pod counts for under ResourceQuotas; absent: its namespace has none. */
  readonly podUsage?: PodUsage;
  /** Pods of the gang on one node; absent: no limit. */
  readonly maxPodsPerNode?: number;
  readonly allowsBorrowing: boolean;
  /** preemptionPolicy of its priority class is PreemptLowerPriority, and not too many of its starts have failed. */
  readonly preempts: boolean;
  /** Failed starts in a row of a job whose class preempts: too many of them keep it from preempting. Absent: none. */
  readonly failedStarts?: number;
  readonly maxRuntimeSeconds?: number;
  /** Ids of the quotas that apply to it: the nearest owner's first, up to the root's. */
  readonly quotas: readonly string[];
  /**
   * No plan of the project or its ancestors grants anything, or something metered that it requests: it can only borrow.
   */
  readonly unplanned: boolean;
  /** The metered types that it requests and no plan grants; absent: none. */
  readonly ungranted?: readonly ResourceType[];
  /** More jobs with its signature wait and are not in the snapshot. */
  readonly hasMore?: boolean;
}

/** A job whose victims are still terminating. */
export interface ReservedJob {
  readonly id: string;
  readonly key: string;
  readonly priority: number;
  readonly attempt: number;
  readonly placements: readonly Placement[];
  readonly perPod: Resources;
  /** As of a queued job. */
  readonly podUsage?: PodUsage;
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
  /** Ids of the quotas it counts under, of the types it requests. */
  readonly quotas: readonly string[];
  /** PodDisruptionBudget (namespace/name) that currently blocks its eviction. */
  readonly protected?: string;
  /** The API server refuses its eviction for another reason than a budget. */
  readonly refused?: true;
  /** It borrows, and this PodDisruptionBudget has blocked its eviction for as long as it may. */
  readonly pastBudget?: string;
}

/** A search for victims that did not help. */
export interface InVain {
  /** Whether the job was within quota: otherwise it may evict others. */
  readonly withinQuota: boolean;
  /** Of the job then: one of higher priority may evict others. */
  readonly priority: number;
  /** PodDisruptionBudgets (namespace/name) without which it would have helped. */
  readonly budgets: readonly string[];
  /** Jobs (namespace/name) whose eviction the API server refuses, and without that it would have helped. */
  readonly refused: readonly string[];
}

export interface Snapshot {
  readonly pool: string;
  readonly nowSeconds: number;
  readonly nodes: readonly NodeSnapshot[];
  readonly quotas: readonly Quota[];
  /** ResourceQuotas of the jobs' namespaces. Absent: there are none. */
  readonly namespaceQuotas?: readonly QuotaInUse[];
  /** The claimed jobs, in order: priority descending, queue time, arrival. */
  readonly queue: readonly QueuedJob[];
  readonly reserved: readonly ReservedJob[];
  /** Victims proposed by the finder so far; absent in the first pass. */
  readonly victims?: readonly LiveJob[];
  /** Ids of the jobs that the finder searched victims for: only for these does "no victims" count as a result. */
  readonly victimsFor?: readonly string[];
  /** Blocked jobs, by id, for which a former cycle searched in vain: others have their turn first. */
  readonly inVain?: ReadonlyMap<string, InVain>;
}
