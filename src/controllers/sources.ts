/** Which change of which object makes which keys be looked at. */
import { activeJobKeys } from "../db/job-view.ts";
import { presentNodeNames, prunePlans, prunePriorityClasses } from "../db/prune.ts";
import type { Change, Informer } from "../runtime/informer.ts";
import { errorText } from "../runtime/logger.ts";
import type { Pod, Project } from "../resources/types.ts";
import type { Context } from "./context.ts";
import { indices } from "./context.ts";
import { descendantsOf } from "./project.ts";
import { forgetResourcePlan } from "./resource-plan.ts";

/** The part of a controller that sources need. */
export interface KeySink {
  enqueue(key: string): void;
}

export interface KeySinks {
  readonly projects: KeySink;
  readonly plans: KeySink;
  readonly jobs: KeySink;
  readonly commits: KeySink;
  readonly priorityClasses: KeySink;
  readonly nodes: KeySink;
}

function enqueueEach<T>(informer: Informer<T>, sink: KeySink): void {
  informer.onChange(({ key }) => sink.enqueue(key));
}

/** Jobs that were refused may be accepted now that something they refer to is there. */
function enqueueRefusedJobs({ caches }: Context, sinks: KeySinks, namespace?: string): void {
  const candidates =
    namespace === undefined
      ? caches.jobs.store.values()
      : caches.jobs.store.byIndex(indices.jobsByNamespace, namespace);
  for (const job of candidates) {
    if (job.status.state === "Refused") sinks.jobs.enqueue(`${job.namespace}/${job.name}`);
  }
}

function onProjectChange(context: Context, sinks: KeySinks, change: Change<Project>): void {
  const { before, after } = change;
  const name = (after ?? before)?.name ?? change.key;
  if (before?.generation !== after?.generation) {
    for (const below of descendantsOf(context, name)) sinks.projects.enqueue(below);
  }
  if (
    before?.status.namespace !== after?.status.namespace &&
    after?.status.namespace !== undefined
  ) {
    const { namespace } = after.status;
    enqueueRefusedJobs(context, sinks, namespace);
    for (const commit of context.caches.commits.store.byIndex(
      indices.commitsByNamespace,
      namespace,
    )) {
      sinks.commits.enqueue(`${commit.namespace}/${commit.name}`);
    }
  }
  // Children wait for a parent that is not accepted yet; parents that are deleted wait for children.
  if (before?.status.path !== after?.status.path) {
    for (const child of context.caches.projects.store.byIndex(indices.projectsByParent, name)) {
      sinks.projects.enqueue(child.name);
    }
  }
  if (after === undefined && before?.spec.parent !== undefined) {
    sinks.projects.enqueue(before.spec.parent);
  }
}

function onPodChange(sinks: KeySinks, { before, after }: Change<Pod>): void {
  const pod = after ?? before;
  if (pod === undefined) return;
  if (pod.jobKey !== "") sinks.jobs.enqueue(pod.jobKey);
  else if (pod.nodeName !== "") sinks.nodes.enqueue(pod.nodeName);
}

/** A plan that was refused may be accepted when another one changes or goes. */
function enqueueRefusedPlans({ caches }: Context, sinks: KeySinks, except: string): void {
  for (const plan of caches.plans.store.values()) {
    const accepted = plan.status.conditions?.some(
      ({ type, status }) => type === "Ready" && status === "True",
    );
    if (accepted !== true && plan.name !== except) sinks.plans.enqueue(plan.name);
  }
}

/** Call it once: changes go to the sinks for as long as the caches live. */
export function connectSources(context: Context, sinks: KeySinks): void {
  const { caches, logger } = context;
  enqueueEach(caches.projects, sinks.projects);
  enqueueEach(caches.plans, sinks.plans);
  enqueueEach(caches.jobs, sinks.jobs);
  enqueueEach(caches.commits, sinks.commits);
  enqueueEach(caches.priorityClasses, sinks.priorityClasses);
  enqueueEach(caches.nodes, sinks.nodes);
  caches.projects.onChange((change) => onProjectChange(context, sinks, change));
  caches.pods.onChange((change) => onPodChange(sinks, change));
  caches.priorityClasses.onChange(() => enqueueRefusedJobs(context, sinks));
  caches.nodes.onChange(({ before, after }) => {
    if (before?.pool !== after?.pool) enqueueRefusedJobs(context, sinks);
  });
  caches.commits.onChange(({ before, after }) => {
    const commit = after ?? before;
    if (commit && before?.status.hash !== after?.status.hash) {
      enqueueRefusedJobs(context, sinks, commit.namespace);
    }
  });
  caches.plans.onChange(({ key, before, after }) => {
    if (before !== undefined && after?.uid !== before.uid) {
      forgetResourcePlan(context, before).then(
        () => enqueueRefusedPlans(context, sinks, key),
        (error: unknown) =>
          logger.error("could not withdraw a deleted plan; the next start will", {
            plan: key,
            error: errorText(error),
          }),
      );
    }
    if (before?.generation !== after?.generation) enqueueRefusedPlans(context, sinks, key);
  });
}

/** Looks at everything once, and forgets what left while nobody watched. */
export async function enqueueAll({ caches, db }: Context, sinks: KeySinks): Promise<void> {
  await prunePlans(
    db,
    [...caches.plans.store.values()].map(({ uid }) => uid),
  );
  await prunePriorityClasses(db, [...caches.priorityClasses.store.keys()]);
  const nodeNames = new Set([...caches.nodes.store.keys(), ...(await presentNodeNames(db))]);
  for (const name of nodeNames) sinks.nodes.enqueue(name);
  for (const name of caches.priorityClasses.store.keys()) sinks.priorityClasses.enqueue(name);
  for (const name of caches.projects.store.keys()) sinks.projects.enqueue(name);
  for (const name of caches.plans.store.keys()) sinks.plans.enqueue(name);
  for (const key of caches.commits.store.keys()) sinks.commits.enqueue(key);
  const jobKeys = new Set([...caches.jobs.store.keys(), ...(await activeJobKeys(db))]);
  for (const key of jobKeys) sinks.jobs.enqueue(key);
}
