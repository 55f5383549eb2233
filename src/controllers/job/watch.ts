/** Which changes enqueue jobs: their own, and those of their pods and of objects that they refer to. */
import { activeJobKeys } from "../../db/jobs/read.ts";
import type { Pod, Project } from "../../resources/types.ts";
import type { Change } from "../../runtime/informer.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";
import { descendantsOf } from "../tree.ts";
import type { JobContext } from "./context.ts";
import { stageOf } from "./observed-state.ts";

/** Enqueues jobs that are rejected or not judged yet: an object that they refer to may exist now. */
function enqueueRejected({ informers, queues }: Context, namespace?: string): void {
  const { store } = informers.jobs;
  const candidates =
    namespace === undefined ? store.values() : store.byIndex(indices.jobsByNamespace, namespace);
  for (const job of candidates) {
    if (job.status.state === undefined || job.status.state === "Rejected")
      queues.jobs.add(`${job.namespace}/${job.name}`);
  }
}

/** Jobs that wait are judged by their project's list of priority classes, which it may have from an ancestor. */
function enqueueOfProject({ informers, queues }: Context, project: string): void {
  const { store } = informers.projects;
  for (const name of [project, ...descendantsOf(store, project)]) {
    const namespace = store.get(name)?.status.namespace ?? "";
    for (const job of informers.jobs.store.byIndex(indices.jobsByNamespace, namespace))
      if (job.status.finishedAt === undefined) queues.jobs.add(`${namespace}/${job.name}`);
  }
}

/** Pure: whether the project's own jobs, and those below it, may be judged by another list. */
const changesClasses = (before: Project | undefined, after: Project | undefined): boolean =>
  before?.spec.parent !== after?.spec.parent ||
  before?.spec.priorityClasses?.join() !== after?.spec.priorityClasses?.join();

/** The default class changed: enqueues jobs that name no class. */
function enqueueOfDefaultClass({ informers, queues }: Context): void {
  for (const { namespace, name, spec, status } of informers.jobs.store.values()) {
    if (spec.priorityClassName === undefined && status.finishedAt === undefined)
      queues.jobs.add(`${namespace}/${name}`);
  }
}

function onPodChange({ podExpectations, queues }: JobContext, change: Change<Pod>): void {
  const pod = change.after ?? change.before;
  if (pod === undefined) return;
  podExpectations.forget(pod.jobUid, pod.name);
  if (pod.jobKey !== "") queues.jobs.add(pod.jobKey);
}

/** Registers the handlers; call it once. */
export function watchJobs(context: JobContext): void {
  const { informers, queues } = context;
  informers.jobs.onChange(({ key }) => queues.jobs.add(key));
  informers.pods.onChange((change) => onPodChange(context, change));
  informers.priorityClasses.onChange(({ before, after }) => {
    enqueueRejected(context);
    if (before?.globalDefault === true || after?.globalDefault === true)
      enqueueOfDefaultClass(context);
  });
  informers.nodes.onChange(({ key, before, after }) => {
    if (before !== undefined && before.ready !== after?.ready) {
      // Jobs on the node may have lost pods, whose objects do not change for a while.
      for (const { jobKey } of informers.pods.store.byIndex(indices.podsByNode, key))
        if (jobKey !== "") queues.jobs.add(jobKey);
    }
    if (before?.pool !== after?.pool) enqueueRejected(context);
  });
  informers.commits.onChange(({ before, after }) => {
    const commit = after ?? before;
    if (commit && before?.status.hash !== after?.status.hash)
      enqueueRejected(context, commit.namespace);
  });
  informers.projects.onChange(({ key, before, after }) => {
    if (changesClasses(before, after)) enqueueOfProject(context, key);
    const namespace = after?.status.namespace;
    if (namespace !== undefined && namespace !== before?.status.namespace) {
      enqueueRejected(context, namespace);
      enqueueOfProject(context, key);
    }
  });
}

/** Enqueues all Jobs in the cluster and all unfinished jobs in the database. */
export async function enqueueJobs({ informers, queues, db }: Context): Promise<void> {
  const { store } = informers.jobs;
  const active = await activeJobKeys(db);
  // What has ended can wait; a live job is urgent, so that a database that lost all gets those first whose pods are there.
  for (const job of store.values()) {
    const priority = stageOf(job) === "ended" ? "resync" : "interactive";
    queues.jobs.add(`${job.namespace}/${job.name}`, { priority });
  }
  for (const key of active) queues.jobs.add(key);
}
