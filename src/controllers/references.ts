/** Lookups of objects that others refer to, in the caches. */
import { inQuantity, type ResourceType, sumOf } from "../domain/resource-types.ts";
import { amountOf } from "../domain/scheduling/quota.ts";
import { durationSeconds } from "../domain/duration.ts";
import type { ConfigCommit, Job, PriorityClass, Project } from "../resources/types.ts";
import { indices } from "./context.ts";
import type { Context } from "./context.ts";
import { lineOf } from "./tree.ts";

/** The project whose status names the namespace as its own; undefined if there is none. */
export function projectOfNamespace(
  context: Pick<Context, "informers">,
  namespace: string,
): Project | undefined {
  const candidates = context.informers.projects.store.byIndex(
    indices.projectsByNamespace,
    namespace,
  );
  return candidates.find((project) => project.status.namespace === namespace);
}

export type ClassInEffect = Pick<PriorityClass, "name" | "value" | "preemptionPolicy">;

/** Of several defaults, the one with the lowest value, like the API server's admission plugin. */
function defaultClass(context: Context): PriorityClass | undefined {
  const defaults = [...context.informers.priorityClasses.store.values()].filter(
    ({ globalDefault }) => globalDefault,
  );
  return defaults.toSorted((a, b) => a.value - b.value)[0];
}

/** The named class, else the cluster's default, else priority 0; undefined if the named class does not exist. */
export function priorityClassOf(context: Context, job: Job): ClassInEffect | undefined {
  const { store } = context.informers.priorityClasses;
  const { priorityClassName } = job.spec;
  if (priorityClassName !== undefined) return store.get(priorityClassName);
  return defaultClass(context) ?? { name: "", value: 0, preemptionPolicy: "PreemptLowerPriority" };
}

/** The list of the nearest ancestor that sets one; undefined if none does. */
export function allowedPriorityClasses(
  context: Context,
  project: Project,
): readonly string[] | undefined {
  return lineOf(context.informers.projects.store, project).find(
    ({ spec }) => spec.priorityClasses !== undefined,
  )?.spec.priorityClasses;
}

/**
 * The longest grace period of the project's pods: the setting, or what the project or an ancestor lowers it to.
 * @param project undefined where it is gone, or not known yet
 */
export function maxGraceSeconds(
  { informers, settings }: Pick<Context, "informers" | "settings">,
  project: Project | undefined,
): number {
  const line = project === undefined ? [] : lineOf(informers.projects.store, project);
  const limits = line.map(({ spec }) => spec.limits?.terminationGracePeriod);
  return Math.min(
    settings.maxGraceSeconds,
    ...limits.flatMap((limit) => (limit === undefined ? [] : [durationSeconds(limit)])),
  );
}

/** Names in the project's own list of allowed classes that do not exist. */
export const missingPriorityClasses = (
  { informers }: Context,
  { spec }: Project,
): readonly string[] =>
  (spec.priorityClasses ?? []).filter(
    (name) => informers.priorityClasses.store.get(name) === undefined,
  );

/** The commit that a job refers to by name or by tag; undefined if there is none, or if none with the tag is stored. */
export function commitOf(context: Context, job: Job): ConfigCommit | undefined {
  const { configRef } = job.spec;
  if (configRef?.commit !== undefined) {
    return context.informers.commits.store.get(`${job.namespace}/${configRef.commit}`);
  }
  const all = context.informers.commits.store.byIndex(indices.commitsByNamespace, job.namespace);
  return all.find(
    (commit) => commit.spec.tag === configRef?.tag && commit.status.hash !== undefined,
  );
}

/** Names of all pools with nodes, sorted; of a node that is about to change its pool, both. */
export function poolNames({ informers, nodePools }: Context): string[] {
  const nodes = [...informers.nodes.store.values()];
  const names = nodes.flatMap((node) => [node.pool, nodePools.of(node).pool]);
  return [...new Set(names)].toSorted();
}

/**
 * What the nodes of each pool have of a resource type, in whole units of a plan's quantity, including nodes that are not
 * ready.
 */
export function poolCapacities({
  informers,
  settings,
}: Context): ReadonlyMap<string, (type: ResourceType) => number> {
  const byPool = Map.groupBy(informers.nodes.store.values(), ({ pool }) => pool);
  const gpuNames = settings.gpuResources.slice(1);
  return new Map(
    [...byPool].map(([pool, nodes]) => {
      const amount = (type: ResourceType): number =>
        nodes.reduce((sum, { allocatable }) => {
          const otherGpus = sumOf(allocatable.byName, gpuNames);
          return sum + amountOf({ ...allocatable, otherGpus }, type);
        }, 0);
      return [pool, (type) => Math.floor(inQuantity(type, amount(type)))];
    }),
  );
}
