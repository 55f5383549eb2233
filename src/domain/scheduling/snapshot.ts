/** What a scheduling decision is made from. Data only: the decision itself has no clock, no database and no API server. */

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
