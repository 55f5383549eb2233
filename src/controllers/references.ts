/** Finding one object by another in the caches. */
import { durationSeconds } from "../domain/duration.ts";
import type { ConfigCommit, Job, PriorityClass, Project } from "../resources/types.ts";
import { indices } from "./context.ts";
import type { Context } from "./context.ts";
import { lineOf } from "./project/tree.ts";

/** The project whose status says that the namespace is its own. */
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

/** Of several defaults the API server's own admission takes the one of least value, too. */
function defaultClass(context: Context): PriorityClass | undefined {
  const defaults = [...context.informers.priorityClasses.store.values()].filter(
    ({ globalDefault }) => globalDefault,
  );
  return defaults.toSorted((a, b) => a.value - b.value)[0];
}

/** The named class, else the cluster's default, else priority 0; undefined when the named one does not exist. */
export function priorityClassOf(context: Context, job: Job): ClassInEffect | undefined {
  const { store } = context.informers.priorityClasses;
  const { priorityClassName } = job.spec;
  if (priorityClassName !== undefined) return store.get(priorityClassName);
  return defaultClass(context) ?? { name: "", value: 0, preemptionPolicy: "PreemptLowerPriority" };
}

/** The nearest ancestor's list of allowed priority classes; undefined when none names any. */
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

/** Names in the project's own list of allowed classes that no PriorityClass has. */
export const missingPriorityClasses = (
  { informers }: Context,
  { spec }: Project,
): readonly string[] =>
  (spec.priorityClasses ?? []).filter(
    (name) => informers.priorityClasses.store.get(name) === undefined,
  );

/** The commit a job refers to, by name or by tag; undefined when there is none, or it is not stored. */
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

export const poolNames = (context: Context): string[] =>
  [...new Set([...context.informers.nodes.store.values()].map((node) => node.pool))].toSorted();

/** What the nodes of each pool have in all: GPUs and whole cores, those of nodes that are not ready included. */
export function poolCapacities({
  informers,
}: Context): ReadonlyMap<string, Readonly<Record<"GPU" | "CPU", number>>> {
  const byPool = Map.groupBy(informers.nodes.store.values(), ({ pool }) => pool);
  return new Map(
    [...byPool].map(([pool, nodes]) => {
      const gpus = nodes.reduce((sum, { allocatable }) => sum + allocatable.gpus, 0);
      const cpuMillis = nodes.reduce((sum, { allocatable }) => sum + allocatable.cpuMillis, 0);
      return [pool, { GPU: gpus, CPU: Math.floor(cpuMillis / 1000) }];
    }),
  );
}
