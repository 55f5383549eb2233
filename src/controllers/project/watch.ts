/** Which changes enqueue projects. */
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

/** Changes by others. Rota's own status and finalizer writes need no reconcile. */
const isNews = ({ before, after }: Change<Project>): boolean =>
  before?.uid !== after?.uid ||
  before?.generation !== after?.generation ||
  before?.deleting !== after?.deleting ||
  (before !== undefined && after !== undefined && hasFinalizer(before) && !hasFinalizer(after));

/** Enqueues projects that may wait for the name, namespace or deletion of a deleted project. */
function onProjectGone(context: Context, gone: Project): void {
  const { store } = context.informers.projects;
  const waiting = [
    ...store.byIndex(indices.projectsByNamespace, namespaceOf(gone)).map(({ name }) => name),
    ...store.byIndex(indices.projectsByParent, gone.name).map(({ name }) => name),
    ...(gone.spec.parent === undefined ? [] : [gone.spec.parent]),
  ];
  // The row is deleted already, unless a user removed the finalizer.
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
  // The row was stored; decisions use its borrowing, storages and place in the tree.
  if (before?.status.observedGeneration !== after?.status.observedGeneration) {
    context.scheduler.wake(undefined);
  }
}

/** Registers the handlers; call it once. */
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
  // A project's status names the classes of its list that do not exist.
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

/** Enqueues every project; removes those deleted while no operator watched. */
export async function enqueueProjects({ informers, queues, db }: Context): Promise<void> {
  const { store } = informers.projects;
  await pruneProjects(
    db,
    [...store.values()].map(({ uid }) => uid),
  );
  for (const name of store.keys()) queues.projects.add(name);
}
