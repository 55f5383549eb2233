/** Queues a new job that passes validation, and restores a job that the database has lost. */
import { insertJob } from "../../db/jobs/queue.ts";
import type { NewJob } from "../../db/jobs/queue.ts";
import type { ObservedState } from "../../db/jobs/recover.ts";
import { durationSeconds } from "../../domain/duration.ts";
import { podDemand } from "../../domain/pod-demand.ts";
import { podUsage } from "../../domain/pod-usage.ts";
import { withExclusives } from "../../domain/exclusive-resources.ts";
import type {
  NodeSelectorTerm,
  PreferredTerm,
  Toleration,
} from "../../domain/scheduling/snapshot.ts";
import { RotaError } from "../../errors.ts";
import { fieldsOf } from "../../resources/meta.ts";
import { maxPodsPerNodeOf } from "../../resources/placement-rules.ts";
import type { Submitted } from "./context.ts";
import { isLiveStatus } from "./observed-state.ts";
import { adopt } from "./recovery.ts";
import { refuse } from "./rejection.ts";
import type { Rejection } from "./rejection.ts";
import { validate } from "./validation.ts";
import type { ValidJob } from "./validation.ts";

interface Constraints {
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly affinityTerms: readonly NodeSelectorTerm[];
  readonly preferredTerms: readonly PreferredTerm[];
  readonly tolerations: readonly Toleration[];
}

function constraintsOf(podSpec: Readonly<Record<string, unknown>>): Constraints {
  const nodeAffinity = fieldsOf(fieldsOf(podSpec["affinity"])["nodeAffinity"]);
  const required = fieldsOf(nodeAffinity["requiredDuringSchedulingIgnoredDuringExecution"]);
  return {
    nodeSelector: fieldsOf(podSpec["nodeSelector"]) as Record<string, string>,
    affinityTerms: (required["nodeSelectorTerms"] ?? []) as NodeSelectorTerm[],
    preferredTerms: (nodeAffinity["preferredDuringSchedulingIgnoredDuringExecution"] ??
      []) as PreferredTerm[],
    tolerations: (podSpec["tolerations"] ?? []) as Toleration[],
  };
}

async function insert(
  submitted: Submitted,
  { project, priorityClass, configHash, podSpec }: ValidJob,
  observed: ObservedState | undefined,
): Promise<Rejection | undefined> {
  const { context, job } = submitted;
  const row: NewJob = {
    id: job.uid,
    projectId: project.uid,
    namespace: job.namespace,
    name: job.name,
    pool: job.spec.pool,
    priority: priorityClass.value,
    priorityClass: priorityClass.name,
    preempts: priorityClass.preemptionPolicy === "PreemptLowerPriority",
    parallelism: job.spec.parallelism,
    perPod: withExclusives(
      podDemand(podSpec, context.settings.gpuResource),
      podSpec,
      job.namespace,
    ),
    gpuResources: context.settings.gpuResources.slice(1),
    podUsage: podUsage(podSpec),
    maxPodsPerNode: maxPodsPerNodeOf(podSpec),
    allowsBorrowing: job.spec.borrowing === "Allow",
    ...(job.spec.maxRuntime === undefined
      ? {}
      : { maxRuntimeSeconds: durationSeconds(job.spec.maxRuntime) }),
    backoffLimit: job.spec.backoffLimit,
    suspended: job.spec.suspend,
    ...(configHash === undefined ? {} : { configHash }),
    queuedAt: Temporal.Instant.from(job.createdAt),
    ...constraintsOf(podSpec),
    storages: job.spec.storages ?? [],
  };
  try {
    if (observed !== undefined) await adopt(submitted, row, observed);
    else await insertJob(context.db, row);
    return undefined;
  } catch (error) {
    if (!(error instanceof RotaError)) throw error;
    if (error.code === "InvalidValue") return refuse(error.code, `spec: ${error.message}`);
    if (error.code !== "ProjectNotFound") throw error;
    return refuse(error.code, `project ${project.name}: ${error.message}`);
  }
}

/**
 * Validates and queues the job. Undefined if it is in the queue now.
 * @param observed its state in the cluster, if it was queued before
 */
export async function queueJob(
  submitted: Submitted,
  observed: ObservedState | undefined,
): Promise<Rejection | undefined> {
  const checked = await validate(
    submitted,
    observed !== undefined && isLiveStatus(observed.status),
  );
  return "reason" in checked ? checked : insert(submitted, checked, observed);
}
