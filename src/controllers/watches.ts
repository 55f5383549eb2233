/** Which change of which object makes which keys be looked at. */
import { unknownCommits } from "../db/configs/commits.ts";
import { activeJobKeys } from "../db/jobs/read.ts";
import type { Owner } from "../db/tenants/owners.ts";
import { deleteProject } from "../db/tenants/projects.ts";
import {
  presentNodeNames,
  pruneCommits,
  prunePlans,
  prunePriorityClasses,
  pruneProjects,
} from "../db/history/prune.ts";
import type { Change, Informer } from "../runtime/informer.ts";
import { errorText } from "../runtime/logger.ts";
import { byAge } from "../resources/meta.ts";
import type { ClusterNode, Pod, Project, ResourcePlan } from "../resources/types.ts";
import type { Informers, Context, OwnedInformers, TenantsPort } from "./context.ts";
import { indices, ownerKey } from "./context.ts";
import { showsStored } from "./config/commit.ts";
import { hasFinalizer } from "./project/finalizer.ts";
import { namespaceOf } from "./project/namespace.ts";
import { descendantsOf, lineOf } from "./project/tree.ts";

/** The part of a controller that sources need. */
export interface KeySink {
  enqueue(key: string): void;
  enqueueAfter(key: string, seconds: number): void;
}

export interface KeySinks {
  readonly projects: KeySink;
  readonly plans: KeySink;
  readonly jobs: KeySink;
  readonly commits: KeySink;
  readonly priorityClasses: KeySink;
  readonly nodes: KeySink;
  readonly configMaps: KeySink;
}

function enqueueEach<T>(informer: Informer<T>, sink: KeySink): void {
  informer.onChange(({ key }) => sink.enqueue(key));
}

/** Jobs that were refused, or are to be, may be accepted now that something they refer to is there. */
function enqueueRejectedJobs({ informers }: Context, sinks: KeySinks, namespace?: string): void {
  const candidates =
    namespace === undefined
      ? informers.jobs.store.values()
      : informers.jobs.store.byIndex(indices.jobsByNamespace, namespace);
  for (const job of candidates) {
    if (job.status.state === undefined || job.status.state === "Rejected")
      sinks.jobs.enqueue(`${job.namespace}/${job.name}`);
  }
}

/** A change that others made: what we write into the status, and our finalizer, is no news. */
const isNews = ({ before, after }: Change<Project>): boolean =>
  before?.uid !== after?.uid ||
  before?.generation !== after?.generation ||
  before?.deleting !== after?.deleting ||
  (before !== undefined && after !== undefined && hasFinalizer(before) && !hasFinalizer(after));

/** Others that wait for the name or the namespace of a project that left. */
function onProjectGone(context: Context, sinks: KeySinks, gone: Project): void {
  const { store } = context.informers.projects;
  const waiting = [
    ...store.byIndex(indices.projectsByNamespace, namespaceOf(gone)).map(({ name }) => name),
    ...store.byIndex(indices.projectsByParent, gone.name).map(({ name }) => name),
    ...(gone.spec.parent === undefined ? [] : [gone.spec.parent]),
  ];
  // Its row is gone already, unless somebody took its finalizer away.
  deleteProject(context.db, gone.uid)
    .catch((error: unknown) =>
      context.logger.warn("a project left without its row; the next start looks again", {
        project: gone.name,
        error: errorText(error),
      }),
    )
    .finally(() => {
      for (const name of waiting) sinks.projects.enqueue(name);
    });
}

/** Which class is the default has changed for those that name none. */
function enqueueJobsOfDefaultClass({ informers }: Context, sinks: KeySinks): void {
  for (const { namespace, name, spec, status } of informers.jobs.store.values()) {
    if (spec.priorityClassName === undefined && status.finishedAt === undefined)
      sinks.jobs.enqueue(`${namespace}/${name}`);
  }
}

/** Their status tells which of the classes do not exist. */
function enqueueProjectsThatAllow(
  { informers }: Context,
  sinks: KeySinks,
  priorityClass: string,
): void {
  for (const { name, spec } of informers.projects.store.values()) {
    if (spec.priorityClasses?.includes(priorityClass)) sinks.projects.enqueueAfter(name, 1);
  }
}

function onProjectChange(context: Context, sinks: KeySinks, change: Change<Project>): void {
  const { before, after } = change;
  const name = (after ?? before)?.name ?? change.key;
  if (isNews(change)) sinks.projects.enqueue(name);
  if (before !== undefined && after?.uid !== before.uid) onProjectGone(context, sinks, before);
  // Its row was stored: borrowing, storages, its place in the tree are what decisions are made of.
  if (before?.status.observedGeneration !== after?.status.observedGeneration) {
    context.scheduler.wake(undefined);
  }
  if (
    before?.status.namespace !== after?.status.namespace &&
    after?.status.namespace !== undefined
  ) {
    const { namespace } = after.status;
    enqueueRejectedJobs(context, sinks, namespace);
    for (const commit of context.informers.commits.store.byIndex(
      indices.commitsByNamespace,
      namespace,
    )) {
      sinks.commits.enqueue(`${commit.namespace}/${commit.name}`);
    }
  }
}

/** Totals are not news to the second. */
const totalsSeconds = 2;

const isRejected = ({ status }: ResourcePlan): boolean =>
  status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "False") ?? false;

/** What others tell projects and plans, as keys to look at. */
export function tenantsOf(
  { projects, plans, commits }: Informers,
  { configMaps }: OwnedInformers,
  sinks: Pick<KeySinks, "projects" | "plans" | "commits" | "configMaps">,
): TenantsPort {
  const { store } = projects;
  const plansOf = (owner: Owner | undefined): void => {
    if (owner === undefined) return;
    for (const { name } of plans.store.byIndex(indices.plansByOwner, ownerKey(owner))) {
      sinks.plans.enqueueAfter(name, totalsSeconds);
    }
  };
  return {
    changed: (name, formerParent) => {
      const project = store.get(name);
      const parents = new Set([formerParent, project?.spec.parent]);
      for (const parent of parents) if (parent !== undefined) sinks.projects.enqueue(parent);
      for (const below of descendantsOf(store, name)) sinks.projects.enqueue(below);
      plansOf(project?.spec.owner);
      // Where the database lost the project, it lost its commits as well.
      const namespace = project?.status.namespace ?? "";
      for (const commit of commits.store.byIndex(indices.commitsByNamespace, namespace)) {
        sinks.commits.enqueue(`${namespace}/${commit.name}`);
      }
    },
    used: (namespace) => {
      const { store: ours } = configMaps.informer;
      for (const { name } of ours.byIndex(indices.configMapsByNamespace, namespace)) {
        sinks.configMaps.enqueueAfter(`${namespace}/${name}`, totalsSeconds);
      }
      for (const project of store.byIndex(indices.projectsByNamespace, namespace)) {
        // Jobs that end are what its deletion waits for.
        if (project.deleting) sinks.projects.enqueue(project.name);
        for (const { name, spec } of lineOf(store, project)) {
          sinks.projects.enqueueAfter(name, totalsSeconds);
          plansOf(spec.owner);
        }
      }
    },
    granted: ({ kind, name }) => {
      for (const { name: project, spec } of store.values()) {
        if (spec.owner?.kind !== kind || spec.owner.name !== name) continue;
        for (const one of [project, ...descendantsOf(store, project)]) {
          sinks.projects.enqueueAfter(one, totalsSeconds);
        }
      }
    },
    plansChanged: (except) => {
      for (const plan of plans.store.values()) {
        if (isRejected(plan) && !except.has(plan.name)) sinks.plans.enqueue(plan.name);
      }
    },
  };
}

const hasSameCapacity = (before?: ClusterNode, after?: ClusterNode): boolean =>
  before?.allocatable.gpus === after?.allocatable.gpus &&
  before?.allocatable.cpuMillis === after?.allocatable.cpuMillis;

function onPodChange(
  { podExpectations }: Context,
  sinks: KeySinks,
  { before, after }: Change<Pod>,
): void {
  const pod = after ?? before;
  if (pod === undefined) return;
  podExpectations.forget(pod.jobUid, pod.name);
  if (pod.jobKey !== "") sinks.jobs.enqueue(pod.jobKey);
  else if (pod.nodeName !== "") sinks.nodes.enqueue(pod.nodeName);
}

/** Call it once: changes go to the sinks for as long as the caches live. */
export function connectSources(context: Context, sinks: KeySinks): void {
  const { informers } = context;
  enqueueEach(informers.jobs, sinks.jobs);
  enqueueEach(informers.priorityClasses, sinks.priorityClasses);
  enqueueEach(informers.nodes, sinks.nodes);
  informers.projects.onChange((change) => onProjectChange(context, sinks, change));
  const { namespaces, roleBindings, claims, configMaps } = context.owned;
  for (const owned of [namespaces, roleBindings, claims]) {
    owned.onDrift((project: string) => sinks.projects.enqueue(project));
  }
  configMaps.onDrift((_project, key) => sinks.configMaps.enqueue(key));
  namespaces.informer.onChange(({ key, after }) => {
    if (after !== undefined) return;
    for (const { name } of informers.projects.store.byIndex(indices.projectsByNamespace, key)) {
      sinks.projects.enqueue(name);
    }
  });
  informers.jobs.onChange(({ before, after }) => {
    const job = after ?? before;
    const isSame =
      before?.status.state === after?.status.state && before?.status.gpus === after?.status.gpus;
    if (job && !isSame) context.tenants.used(job.namespace);
  });
  informers.pods.onChange((change) => onPodChange(context, sinks, change));
  informers.priorityClasses.onChange(({ key, before, after }) => {
    enqueueRejectedJobs(context, sinks);
    if (before === undefined || after === undefined) enqueueProjectsThatAllow(context, sinks, key);
    if (before?.globalDefault === true || after?.globalDefault === true)
      enqueueJobsOfDefaultClass(context, sinks);
  });
  informers.nodes.onChange(({ key, before, after }) => {
    if (after === undefined) {
      // Jobs that ran there have lost pods, which stay for a while as if nothing had happened.
      for (const { jobKey } of informers.pods.store.byIndex(indices.podsByNode, key))
        if (jobKey !== "") sinks.jobs.enqueue(jobKey);
    }
    if (before?.pool !== after?.pool) enqueueRejectedJobs(context, sinks);
    else if (hasSameCapacity(before, after)) return;
    for (const name of informers.plans.store.keys()) sinks.plans.enqueueAfter(name, totalsSeconds);
  });
  informers.commits.onChange(({ key, before, after }) => {
    const commit = after ?? before;
    if (before?.uid !== after?.uid || before?.generation !== after?.generation) {
      sinks.commits.enqueue(key);
    }
    if (commit && before?.status.hash !== after?.status.hash) {
      enqueueRejectedJobs(context, sinks, commit.namespace);
    }
  });
  informers.plans.onChange(({ key, before, after }) => {
    const isNews = before?.uid !== after?.uid || before?.generation !== after?.generation;
    if (isNews) sinks.plans.enqueue(key);
  });
}

/** Most commits are stored and say so: those cost nothing. */
async function enqueueCommits(
  { informers, db }: Pick<Context, "informers" | "db">,
  sinks: KeySinks,
): Promise<void> {
  const all = [...informers.commits.store.values()];
  await pruneCommits(
    db,
    all.map(({ uid }) => uid),
  );
  const unknown = new Set(
    await unknownCommits(
      db,
      all.map(({ uid }) => uid),
    ),
  );
  const inOrder = all.toSorted(
    (one, other) => Number(showsStored(other)) - Number(showsStored(one)) || byAge(one, other),
  );
  for (const commit of inOrder) {
    if (showsStored(commit) && !unknown.has(commit.uid)) continue;
    sinks.commits.enqueue(`${commit.namespace}/${commit.name}`);
  }
}

/** Looks at everything once, and forgets what left while nobody watched. */
export async function enqueueAll(
  { informers, owned, db }: Context,
  sinks: KeySinks,
): Promise<void> {
  await prunePlans(
    db,
    [...informers.plans.store.values()].map(({ uid }) => uid),
  );
  await pruneProjects(
    db,
    [...informers.projects.store.values()].map(({ uid }) => uid),
  );
  await prunePriorityClasses(db, [...informers.priorityClasses.store.keys()]);
  const nodeNames = new Set([...informers.nodes.store.keys(), ...(await presentNodeNames(db))]);
  for (const name of nodeNames) sinks.nodes.enqueue(name);
  for (const name of informers.priorityClasses.store.keys()) sinks.priorityClasses.enqueue(name);
  for (const name of informers.projects.store.keys()) sinks.projects.enqueue(name);
  for (const name of informers.plans.store.keys()) sinks.plans.enqueue(name);
  await enqueueCommits({ informers, db }, sinks);
  for (const key of owned.configMaps.informer.store.keys()) sinks.configMaps.enqueue(key);
  const jobKeys = new Set([...informers.jobs.store.keys(), ...(await activeJobKeys(db))]);
  for (const key of jobKeys) sinks.jobs.enqueue(key);
}
