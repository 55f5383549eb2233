/** What every controller is given. */
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
} from "../resources/types.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Informer } from "../runtime/informer.ts";
import type { Logger } from "../runtime/logger.ts";
import type { WorkQueue } from "../runtime/work-queue.ts";
import type { Explanation } from "../scheduler/wait-reasons/publisher.ts";
import type { Notice as WindowNotice } from "../scheduler/windows/notices.ts";
import type { Settings } from "../settings/read.ts";

export interface Informers {
  readonly projects: Informer<Project>;
  readonly plans: Informer<ResourcePlan>;
  readonly jobs: Informer<Job>;
  readonly commits: Informer<ConfigCommit>;
  readonly priorityClasses: Informer<PriorityClass>;
  readonly nodes: Informer<ClusterNode>;
  readonly pods: Informer<Pod>;
}

/** The keys that wait for each controller. Open while this process leads: a term begins with all keys. */
export interface Queues {
  readonly projects: WorkQueue;
  readonly plans: WorkQueue;
  readonly jobs: WorkQueue;
  readonly commits: WorkQueue;
  readonly priorityClasses: WorkQueue;
  readonly nodes: WorkQueue;
  readonly configMaps: WorkQueue;
}

/** What controllers tell the scheduler, and what they ask it. */
export interface SchedulerPort {
  /** Something changed that may let a job of the pool start; undefined: of any pool. */
  wake(pool: string | undefined): void;
  explanation(jobId: string): Explanation | undefined;
  /** What a running job is told when its plan's window closes and evicts. */
  windowNotice(pool: string, jobId: string): WindowNotice | undefined;
}

/** What others tell the projects. */
export interface TenantsPort {
  /** The project's row changed: what is below it follows at once, and who counts it among its children. */
  changed(project: string, formerParent?: string): void;
  /** What jobs of the namespace use changed: totals up to the root follow within seconds. */
  used(namespace: string): void;
  /** What plans grant the owner changed: totals of its projects follow within seconds. */
  granted(owner: Owner): void;
  /** Plans in force changed: others that were refused, these left out, may be accepted now. */
  plansChanged(except: ReadonlySet<string>): void;
}

/** What projects have in the cluster: watched, and written by us alone. */
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
  /** Named points at which a crash test ends the process. */
  readonly checkpoint: (name: string) => void;
}

/** Names of the indices over the caches. */
export const indices = {
  projectsByParent: "parent",
  projectsByNamespace: "namespace",
  podsByJob: "job",
  podsByNode: "node",
  commitsByNamespace: "namespace",
  jobsByNamespace: "namespace",
  plansByOwner: "owner",
  claimsByNamespace: "namespace",
  configMapsByNamespace: "namespace",
} as const;

/** An owner in the index of plans. */
export const ownerKey = ({ kind, name }: Owner): string => `${kind}/${name}`;
