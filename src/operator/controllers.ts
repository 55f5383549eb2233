/** The controllers: which keys wait in which queue, which changes enqueue them, and how they are reconciled. */
import { reconcileConfigCommit } from "../controllers/config/commit.ts";
import { reconcileConfigMaps } from "../controllers/config/config-maps.ts";
import { enqueueConfigs, watchConfigs } from "../controllers/config/watch.ts";
import type { Context, Informers, Queues } from "../controllers/context.ts";
import { tellingFailures, tellingFailuresOfMany } from "../controllers/failure.ts";
import { createJobContext } from "../controllers/job/context.ts";
import { relieveQuotaPauses, watchQuotas } from "../controllers/job/quota-relief.ts";
import { isUnderWay } from "../controllers/job/observed-state.ts";
import { reconcileJob } from "../controllers/job/reconciler.ts";
import { showStuckPods } from "../controllers/job/stuck-pods.ts";
import { enqueueJobs, watchJobs } from "../controllers/job/watch.ts";
import { reconcileNode } from "../controllers/mirrors/node.ts";
import { reconcilePriorityClass } from "../controllers/mirrors/priority-class.ts";
import { enqueueMirrored, watchMirrored } from "../controllers/mirrors/watch.ts";
import { reconcilePlans } from "../controllers/plan/reconciler.ts";
import { enqueuePlans, watchPlans } from "../controllers/plan/watch.ts";
import { reconcileProjects } from "../controllers/project/reconciler.ts";
import { enqueueProjects, watchProjects } from "../controllers/project/watch.ts";
import { configCommits, projects, resourcePlans } from "../resources/types.ts";
import { createBatchController } from "../runtime/batch-controller.ts";
import type { BatchControllerOptions } from "../runtime/batch-controller.ts";
import type { Clock } from "../runtime/clock.ts";
import { createController } from "../runtime/controller.ts";
import type { Reconcile } from "../runtime/controller.ts";
import { limitedLogger } from "../runtime/limited-logger.ts";
import type { Metrics } from "../runtime/metrics.ts";
import type { Controller } from "../runtime/queue-worker.ts";
import { WorkQueue } from "../runtime/work-queue.ts";
import type { WorkQueueOptions } from "../runtime/work-queue.ts";

const concurrency = { jobs: 64, commits: 4, mirrors: 4 } as const;

/** Maximum per batch, which one statement reads; each project may need several writes to the API server. */
const maxProjectsAtOnce = 2_000;
const projectBatchSeconds = 600;

/** Names in metrics and logs. */
const names: Readonly<Record<keyof Queues, string>> = {
  projects: "project",
  plans: "resourceplan",
  jobs: "job",
  commits: "configcommit",
  priorityClasses: "priorityclass",
  nodes: "node",
  configMaps: "configmap",
  resourceQuotas: "resourcequota",
};

/** Creates the queues; they are closed until a term starts. */
export function createQueues(
  clock: Clock,
  metrics: Metrics,
  { jobs }: Pick<Informers, "jobs">,
): Queues {
  const make = (
    kind: keyof Queues,
    options: Pick<WorkQueueOptions, "isUrgent"> = {},
  ): WorkQueue => {
    const queue = new WorkQueue({ name: names[kind], clock, metrics, ...options });
    queue.close();
    return queue;
  };
  return {
    projects: make("projects"),
    plans: make("plans"),
    // Starts, evictions and deletions come before new jobs, however many these are: others wait for their room.
    jobs: make("jobs", { isUrgent: (key) => isUnderWay(jobs.store.get(key)) }),
    commits: make("commits"),
    priorityClasses: make("priorityClasses"),
    nodes: make("nodes"),
    configMaps: make("configMaps"),
    resourceQuotas: make("resourceQuotas"),
  };
}

/** Creates the controllers and registers their handlers; each term starts them. Call it once. */
export function createControllers(context: Context, metrics: Metrics): readonly Controller[] {
  const { clock, queues } = context;
  const logger = limitedLogger(context.logger, clock);
  const common = (kind: keyof Queues) => ({
    name: names[kind],
    queue: queues[kind],
    clock,
    logger,
    metrics,
  });
  const one = (kind: keyof Queues, slots: number, reconcile: Reconcile): Controller =>
    createController({ ...common(kind), concurrency: slots, reconcile });
  const many = (
    kind: keyof Queues,
    options: Pick<
      BatchControllerOptions,
      "reconcile" | "maxKeys" | "timeoutSeconds" | "batchesAtOnce"
    >,
  ): Controller => createBatchController({ ...common(kind), ...options });

  const { informers } = context;
  const kinds = {
    projects: { type: projects, find: (key: string) => informers.projects.store.get(key) },
    plans: { type: resourcePlans, find: (key: string) => informers.plans.store.get(key) },
    commits: { type: configCommits, find: (key: string) => informers.commits.store.get(key) },
  };
  const jobContext = createJobContext(context, metrics);
  watchProjects(context);
  watchPlans(context);
  watchConfigs(context);
  watchMirrored(context);
  watchJobs(jobContext);
  watchQuotas(context);
  showStuckPods(context, metrics);
  return [
    many("projects", {
      reconcile: tellingFailuresOfMany(context, kinds.projects, reconcileProjects(context)),
      maxKeys: maxProjectsAtOnce,
      timeoutSeconds: projectBatchSeconds,
    }),
    // A refused plan must not be tried while the plan that it overlaps is being changed.
    many("plans", {
      reconcile: tellingFailuresOfMany(context, kinds.plans, reconcilePlans(context)),
      batchesAtOnce: 1,
    }),
    one("jobs", concurrency.jobs, reconcileJob(jobContext)),
    one(
      "commits",
      concurrency.commits,
      tellingFailures(context, kinds.commits, reconcileConfigCommit(context)),
    ),
    one("priorityClasses", concurrency.mirrors, reconcilePriorityClass(context)),
    one("nodes", concurrency.mirrors, reconcileNode(context)),
    one("resourceQuotas", concurrency.mirrors, relieveQuotaPauses(context)),
    many("configMaps", { reconcile: reconcileConfigMaps(context) }),
  ];
}

/** Enqueues everything once, and removes what left the cluster while no operator watched. */
export async function enqueueAll(context: Context): Promise<void> {
  await enqueuePlans(context);
  await enqueueProjects(context);
  await enqueueMirrored(context);
  await enqueueConfigs(context);
  await enqueueJobs(context);
}
