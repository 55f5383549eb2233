/** Dependencies of every controller. */
import type { Owner } from "../db/tenants/owners.ts";
import type { DatabasePool } from "../db/client/connection-pool.ts";
import type { KubeClient } from "../kube/client.ts";
import type { EventRecorder } from "../kube/events.ts";
import type { StatusWriter } from "../kube/status-writer.ts";
import type { OwnedObjects } from "../resources/owned-objects.ts";
import type {
  ProjectClaim,
  ProjectConfigMap,
  ProjectNamespace,
  ProjectRoleBinding,
} from "../resources/tenant-types.ts";
import type {
  ClusterNode,
  ConfigCommit,
  Job,
  Pod,
  PriorityClass,
  Project,
  ResourcePlan,
  StoredQuota,
} from "../resources/types.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Informer } from "../runtime/informer.ts";
import type { Logger } from "../runtime/logger.ts";
import type { WorkQueue } from "../runtime/work-queue.ts";
import type { Explanation } from "../scheduler/wait-reasons/publisher.ts";
import type { Notice as WindowNotice } from "../scheduler/windows/notices.ts";
import type { Settings } from "../settings/read.ts";
import type { NodePools } from "./node-pools.ts";

export interface Informers {
  readonly projects: Informer<Project>;
  readonly plans: Informer<ResourcePlan>;
  readonly jobs: Informer<Job>;
  readonly commits: Informer<ConfigCommit>;
  readonly priorityClasses: Informer<PriorityClass>;
  readonly nodes: Informer<ClusterNode>;
  readonly pods: Informer<Pod>;
  readonly resourceQuotas: Informer<StoredQuota>;
}

/** The work queues of the controllers. They accept keys while this process leads; a term starts with all keys. */
export interface Queues {
  readonly projects: WorkQueue;
  readonly plans: WorkQueue;
  readonly jobs: WorkQueue;
  readonly commits: WorkQueue;
  readonly priorityClasses: WorkQueue;
  readonly nodes: WorkQueue;
  readonly configMaps: WorkQueue;
  /** By namespace. */
  readonly resourceQuotas: WorkQueue;
}

/** The scheduler's interface for controllers. */
export interface SchedulerPort {
  /** Something changed that may let a job of the pool start; undefined: a job of any pool. */
  wake(pool: string | undefined): void;
  explanation(jobId: string): Explanation | undefined;
  /** The ResourceQuotas of the namespace may have more room, for jobs of any pool. */
  wakeForQuota(namespace: string): void;
  /** The notice for a running job whose plan's window closes and evicts. */
  windowNotice(pool: string, jobId: string): WindowNotice | undefined;
}

/** Receives changes that affect projects and plans. */
export interface TenantsPort {
  /** The project's row changed: enqueues its descendants and its parents at once. */
  changed(project: string, formerParent?: string): void;
  /** The usage of jobs in the namespace changed: totals up to the root are updated within seconds. */
  used(namespace: string): void;
  /** The quota of the owner changed: totals of its projects are updated within seconds. */
  granted(owner: Owner): void;
  /** Plans in force changed: refused plans, except these, may be accepted now. */
  plansChanged(except: ReadonlySet<string>): void;
}

/** Objects that Rota creates for projects. Only Rota writes them; others' changes are reverted. */
export interface OwnedInformers {
  readonly namespaces: OwnedObjects<ProjectNamespace>;
  readonly roleBindings: OwnedObjects<ProjectRoleBinding>;
  readonly claims: OwnedObjects<ProjectClaim>;
  readonly configMaps: OwnedObjects<ProjectConfigMap>;
}

export interface Context {
  readonly db: DatabasePool;
  readonly kube: KubeClient;
  readonly statuses: StatusWriter;
  readonly events: EventRecorder;
  readonly informers: Informers;
  readonly owned: OwnedInformers;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: Settings;
  readonly queues: Queues;
  readonly scheduler: SchedulerPort;
  readonly tenants: TenantsPort;
  readonly nodePools: NodePools;
  /** Crash tests end the process at a named point. */
  readonly checkpoint: (name: string) => void;
}

/** Names of the informers' indices. */
export const indices = {
  projectsByParent: "parent",
  projectsByNamespace: "namespace",
  podsByJob: "job",
  podsByNode: "node",
  quotasByNamespace: "namespace",
  commitsByNamespace: "namespace",
  jobsByNamespace: "namespace",
  plansByOwner: "owner",
  claimsByNamespace: "namespace",
  configMapsByNamespace: "namespace",
} as const;

/** The key of an owner in the index of plans. */
export const ownerKey = ({ kind, name }: Owner): string => `${kind}/${name}`;
