/** The watched resources and their indices. */
import { indices, ownerKey } from "../controllers/context.ts";
import type { Informers, OwnedInformers } from "../controllers/context.ts";
import type { KubeClient } from "../kube/client.ts";
import { createInformer } from "../kube/reflector.ts";
import type { ResourceType } from "../kube/resource.ts";
import { OwnedObjects } from "../resources/owned-objects.ts";
import type { Owned } from "../resources/owned-objects.ts";
import {
  projectClaims,
  projectConfigMaps,
  projectNamespaces,
  projectRoleBindings,
} from "../resources/tenant-types.ts";
import {
  configCommits,
  jobs,
  nodesOf,
  podsOf,
  priorityClasses,
  projects,
  resourcePlans,
  resourceQuotas,
} from "../resources/types.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Informer } from "../runtime/informer.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Metrics } from "../runtime/metrics.ts";

export interface InformersOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly gpuResource: string;
  /** Called when everything is read anew because the API server's data went back in time. */
  readonly onTimeTravel: () => void;
}

export interface RunningInformers extends Informers {
  readonly owned: OwnedInformers;
  /** Resolves when every cache is synced. Informers run until `stop`, because work that is drained still reads them. */
  start(): Promise<void>;
  stop(): Promise<void>;
  synced(): boolean;
  /** The collections that have not been read yet, by their plural names. */
  unsynced(): readonly string[];
  /** Relists every collection because the API server's data went back in time; `witness` names what showed it. */
  reread(witness: string): void;
}

/** Creates all informers with their indices; none runs before `start`. */
export function createInformers(options: InformersOptions): RunningInformers {
  const { kube: client, clock, logger, metrics, gpuResource, onTimeTravel } = options;
  const all: Informer<unknown>[] = [];
  const names = new Map<Informer<unknown>, string>();
  const rereadAll = (): void => {
    onTimeTravel();
    for (const informer of all) informer.reread();
  };
  const follow = <T>(type: ResourceType<T>): Informer<T> => {
    const informer = createInformer({
      client,
      type,
      clock,
      logger,
      metrics,
      onTimeTravel: rereadAll,
    });
    all.push(informer);
    names.set(informer, type.plural);
    return informer;
  };
  const informers: Informers = {
    projects: follow(projects),
    plans: follow(resourcePlans),
    jobs: follow(jobs),
    commits: follow(configCommits),
    priorityClasses: follow(priorityClasses),
    nodes: follow(nodesOf(gpuResource)),
    pods: follow(podsOf(gpuResource)),
    resourceQuotas: follow(resourceQuotas),
  };
  const own = <T extends Owned>(type: ResourceType<T>) =>
    new OwnedObjects(type, follow(type), clock);
  const owned: OwnedInformers = {
    namespaces: own(projectNamespaces),
    roleBindings: own(projectRoleBindings),
    claims: own(projectClaims),
    configMaps: own(projectConfigMaps),
  };
  addIndices(informers);
  owned.claims.informer.store.addIndex(indices.claimsByNamespace, ({ namespace }) => [namespace]);
  owned.configMaps.informer.store.addIndex(indices.configMapsByNamespace, ({ namespace }) => [
    namespace,
  ]);
  const following = new AbortController();
  return {
    ...informers,
    owned,
    start: async () => {
      for (const informer of all) informer.start(following.signal);
      await Promise.all(all.map((informer) => informer.whenSynced()));
      logger.info("all caches are synced");
    },
    stop: async () => {
      following.abort(new Error("the operator is stopping"));
      await Promise.all(all.map((informer) => informer.stopped()));
    },
    unsynced: () => [...names].filter(([informer]) => !informer.synced()).map(([, name]) => name),
    synced: () => all.every((informer) => informer.synced()),
    reread: (witness) => {
      logger.warn("the API server's data went back in time: everything is read anew", { witness });
      rereadAll();
    },
  };
}

function addIndices({ projects, plans, pods, commits, jobs, resourceQuotas }: Informers): void {
  const { store } = projects;
  store.addIndex(indices.projectsByParent, ({ spec }) => (spec.parent ? [spec.parent] : []));
  store.addIndex(indices.projectsByNamespace, ({ name, spec }) => [spec.namespace ?? name]);
  plans.store.addIndex(indices.plansByOwner, ({ spec }) => [ownerKey(spec.owner)]);
  pods.store.addIndex(indices.podsByJob, ({ jobKey }) => (jobKey === "" ? [] : [jobKey]));
  pods.store.addIndex(indices.podsByNode, ({ nodeName }) => (nodeName === "" ? [] : [nodeName]));
  resourceQuotas.store.addIndex(indices.quotasByNamespace, ({ namespace }) => [namespace]);
  commits.store.addIndex(indices.commitsByNamespace, ({ namespace }) => [namespace]);
  jobs.store.addIndex(indices.jobsByNamespace, ({ namespace }) => [namespace]);
}
