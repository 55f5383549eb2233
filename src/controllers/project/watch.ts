/** Which changes make projects be reconciled. */
import { pruneProjects } from "../../db/history/prune.ts";
import { deleteProject } from "../../db/tenants/projects.ts";
import type { Project } from "../../resources/types.ts";
import type { Change } from "../../runtime/informer.ts";
import { errorText } from "../../runtime/logger.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";
import { hasFinalizer } from "./finalizer.ts";
import { namespaceOf } from "./namespace.ts";
import { totalsSeconds } from "./tenants.ts";

/** A change that others made: what we write into the status, and our finalizer, is no news. */
const isNews = ({ before, after }: Change<Project>): boolean =>
  before?.uid !== after?.uid ||
  before?.generation !== after?.generation ||
  before?.deleting !== after?.deleting ||
  (before !== undefined && after !== undefined && hasFinalizer(before) && !hasFinalizer(after));

/** Others that wait for the name or the namespace of a project that left. */
function onProjectGone(context: Context, gone: Project): void {
  const { store } = context.informers.projects;
  const waiting = [
    ...store.byIndex(indices.projectsByNamespace, namespaceOf(gone)).map(({ name }) => name),
    ...store.byIndex(indices.projectsByParent, gone.name).map(({ name }) => name),
    ...(gone.spec.parent === undefined ? [] : [gone.spec.parent]),
  ];
  // Its row is gone already, unless somebody took its finalizer away.
  deleteProject(context.db, gone.uid)
    .catch((error: unknown) =>
      context.logger.warn("a project was deleted but its row was not; retried at the next start", {
        project: gone.name,
        error: errorText(error),
      }),
    )
    .finally(() => {
      for (const name of waiting) context.queues.projects.add(name);
    });
}

function onProjectChange(context: Context, change: Change<Project>): void {
  const { before, after } = change;
  const name = (after ?? before)?.name ?? change.key;
  if (isNews(change)) context.queues.projects.add(name);
  if (before !== undefined && after?.uid !== before.uid) onProjectGone(context, before);
  // Its row was stored: borrowing, storages, its place in the tree are what decisions are made of.
  if (before?.status.observedGeneration !== after?.status.observedGeneration) {
    context.scheduler.wake(undefined);
  }
}

/** Call it once. */
export function watchProjects(context: Context): void {
  const { informers, owned, queues, tenants } = context;
  informers.projects.onChange((change) => onProjectChange(context, change));
  for (const objects of [owned.namespaces, owned.roleBindings, owned.claims]) {
    objects.onDrift((project: string) => queues.projects.add(project));
  }
  owned.namespaces.informer.onChange(({ key, after }) => {
    if (after !== undefined) return;
    for (const { name } of informers.projects.store.byIndex(indices.projectsByNamespace, key)) {
      queues.projects.add(name);
    }
  });
  // Their status names the classes of their list that do not exist.
  informers.priorityClasses.onChange(({ key, before, after }) => {
    if (before !== undefined && after !== undefined) return;
    for (const { name, spec } of informers.projects.store.values())
      if (spec.priorityClasses?.includes(key)) queues.projects.addAfter(name, totalsSeconds);
  });
  informers.jobs.onChange(({ before, after }) => {
    const job = after ?? before;
    const isSame =
      before?.status.state === after?.status.state && before?.status.gpus === after?.status.gpus;
    if (job && !isSame) tenants.used(job.namespace);
  });
}

/** Every project; those that left while nobody watched are forgotten. */
export async function enqueueProjects({ informers, queues, db }: Context): Promise<void> {
  const { store } = informers.projects;
  await pruneProjects(
    db,
    [...store.values()].map(({ uid }) => uid),
  );
  for (const name of store.keys()) queues.projects.add(name);
}
