/** Validates a new job: its references, and its pod template by dry run. */
import { isForbidden, isInvalid, KubeError } from "../../kube/errors.ts";
import { admissionTimeoutSeconds } from "../../kube/client.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { fieldsOf } from "../../resources/meta.ts";
import { buildPod } from "../../resources/pod-builder.ts";
import { placementProblems } from "../../resources/placement-rules.ts";
import { partsOf, templateProblems } from "../../resources/pod-template.ts";
import { podsOf } from "../../resources/types.ts";
import type { Job, Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { commitOf, poolNames } from "../references.ts";
import type { ClassInEffect } from "../references.ts";
import type { JobContext, Submitted } from "./context.ts";
import { wasQueued } from "./observed-state.ts";
import { podEnvironmentOf } from "./pod-environment.ts";
import { excessiveDemand } from "./demand-limits.ts";
import { excessiveGrace } from "./grace.ts";
import { heldBackBy, isHeldBack } from "./held-back.ts";
import { judgeClass } from "./priority-class.ts";
import { refuse } from "./rejection.ts";
import type { Rejection } from "./rejection.ts";
import { maxTemplateLength } from "./template-cache.ts";
import { templateRejection } from "./template-errors.ts";
import { templateOf } from "./template-of.ts";

const templateTooLarge = "TemplateTooLarge";

/** Maximum of problems in one message; with more, the template needs more than a fix of fields. */
const maxProblems = 5;

function checkPool(context: Context, job: Job): Rejection | undefined {
  const pools = poolNames(context);
  if (pools.includes(job.spec.pool)) return undefined;
  return refuse(
    "PoolNotFound",
    `spec.pool "${job.spec.pool}" has no nodes; pools: ${pools.join(", ") || "none"}`,
  );
}

/** A queued job keeps its configuration, even if the commit is deleted. */
function pinnedHash(context: Context, job: Job): string | undefined {
  if (job.spec.configRef === undefined) return undefined;
  const former = wasQueued(job) ? job.status.configHash : undefined;
  return former ?? commitOf(context, job)?.status.hash;
}

function checkConfig(context: Context, job: Job): Rejection | undefined {
  const { configRef } = job.spec;
  if (configRef === undefined || pinnedHash(context, job) !== undefined) return undefined;
  const named =
    configRef.commit === undefined
      ? `tag "${configRef.tag ?? ""}"`
      : `commit "${configRef.commit}"`;
  return refuse(
    "ConfigNotFound",
    `spec.configRef: ${named} is not a stored ConfigCommit of namespace ${job.namespace}`,
  );
}

function checkStorages(job: Job, project: Project): Rejection | undefined {
  const known = (project.spec.storages ?? []).map((storage) => storage.name);
  const unknown = (job.spec.storages ?? []).find((storage) => !known.includes(storage.name));
  if (unknown === undefined) return undefined;
  return refuse(
    "StorageNotFound",
    `spec.storages: "${unknown.name}" is not a storage of project ${project.name}; known: ${known.join(", ") || "none"}`,
  );
}

interface Dry {
  readonly job: Job;
  readonly pod: KubeObject;
  readonly template: unknown;
  readonly project: Project;
}

/** The pod as the API server would store it, with defaults; the rejection of an invalid template names the field. */
async function dryRun(
  context: JobContext,
  { job, pod, template, project }: Dry,
  signal: AbortSignal,
): Promise<KubeObject | Rejection> {
  try {
    return await context.kube.create(podsOf(context.settings.gpuResource), pod, {
      dryRun: true,
      fieldValidation: "Strict",
      signal,
      timeoutSeconds: admissionTimeoutSeconds,
    });
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    if (!isInvalid(error) && !isForbidden(error) && error.status !== 400) throw error;
    // A new namespace has no service account yet; the template is not at fault.
    if (/service ?account .*not found/i.test(error.message)) throw error;
    const heldBack = heldBackBy(context, job, error.explanation);
    if (heldBack) return heldBack;
    return refuse("TemplateRejected", templateRejection(error, template, project));
  }
}

/** The API server validated shorter names with the Job's own name. */
const longNameLength = 40;

/** The template is immutable, so the verdict stands, and the Job need not be read again for it. */
function formerlyTooLarge({ status }: Job): Rejection | undefined {
  if (status.reason !== templateTooLarge) return undefined;
  return refuse(templateTooLarge, status.message ?? "");
}

function excessiveTemplate(template: unknown): Rejection | undefined {
  const { length } = JSON.stringify(template);
  if (length <= maxTemplateLength) return undefined;
  return refuse(
    templateTooLarge,
    `spec.template has ${length} characters of JSON; must be at most ${maxTemplateLength}. Move scripts and data to a ConfigCommit, a ConfigMap or the image`,
  );
}

/**
 * Jobs with equal templates in one namespace share the answer: their pods differ only in names and uids. Where the
 * pods of a live job leave no room for another one in a ResourceQuota, its pod is taken as the template has it.
 */
async function checkedPod(
  submitted: Submitted,
  project: Project,
  configHash: string | undefined,
  isLive: boolean,
): Promise<KubeObject | Rejection> {
  const { context, job, signal } = submitted;
  const template = await templateOf(submitted);
  const tooLarge = excessiveTemplate(template);
  if (tooLarge) return tooLarge;
  const problems = templateProblems(template, {
    parallelism: job.spec.parallelism,
    storages: job.spec.storages ?? [],
    hasConfig: configHash !== undefined,
  });
  if (problems.length > 0)
    return refuse("TemplateRejected", problems.slice(0, maxProblems).join("; "));
  const podEnvironment = podEnvironmentOf(job, project, configHash);
  const order = {
    ...podEnvironment,
    // Node terms of storages are not part of the pod: the scheduler reads them when it decides.
    storages: podEnvironment.storages.map(({ nodeTerms: _terms, ...storage }) => storage),
    // Attempts count from 1, so no pod has this name.
    attempt: 0,
    index: 0,
  };
  const { namespace } = job;
  const name = job.name.length > longNameLength ? job.name : "";
  const question = buildPod(template, { ...order, job: { namespace, name, uid: "" } });
  const pod = buildPod(template, order);
  const answer = await context.templates.check(question, () =>
    dryRun(context, { job, pod, template, project }, signal),
  );
  if (isLive && isHeldBack(answer)) return pod;
  return "metadata" in answer ? withLabelsOf(pod, answer) : answer;
}

/** A shared answer may be about a pod of another job. */
const withLabelsOf = ({ metadata: { labels } }: KubeObject, answer: KubeObject): KubeObject => ({
  ...answer,
  metadata: { ...answer.metadata, labels: { ...answer.metadata.labels, ...labels } },
});

/** What of the pod's placement neither Rota nor kube-scheduler together would do. */
function unsupportedConstraint(pod: KubeObject): Rejection | undefined {
  const problems = placementProblems(pod);
  if (problems.length === 0) return undefined;
  return refuse("UnsupportedConstraint", problems.slice(0, maxProblems).join("; "));
}

/** A job that passed validation. */
export interface ValidJob {
  readonly project: Project;
  readonly priorityClass: ClassInEffect;
  readonly configHash: string | undefined;
  /** With the API server's defaults. */
  readonly podSpec: Readonly<Record<string, unknown>>;
}

/**
 * What a job runs with stays, though its project allows the class no more; it is judged when it waits. Its value is that
 * of its status, so that a loss of the database raises nobody.
 */
function classOf(
  { context, job }: Submitted,
  project: Project,
  isLive: boolean,
): ClassInEffect | Rejection {
  const judged = judgeClass(context, job, project);
  if (!isLive || !("reason" in judged)) return judged;
  return { name: "", value: job.status.priority ?? 0, preemptionPolicy: "Never" };
}

/**
 * What has to change, or what the job is queued with.
 * @param isLive whether its pods are there: it is taken over, not judged anew
 */
export async function validate(
  submitted: Submitted,
  isLive: boolean,
): Promise<ValidJob | Rejection> {
  const { context, job, project } = submitted;
  if (project === undefined) {
    return refuse(
      "NoProject",
      `namespace "${job.namespace}" does not belong to a Project; create one with this namespace, or submit the job in the namespace of a project`,
    );
  }
  const tooLargeBefore = formerlyTooLarge(job);
  if (tooLargeBefore) return tooLargeBefore;
  const priorityClass = classOf(submitted, project, isLive);
  const wrongPool = checkPool(context, job);
  if (wrongPool) return wrongPool;
  if ("reason" in priorityClass) return priorityClass;
  const obstacle = checkConfig(context, job) ?? checkStorages(job, project);
  if (obstacle) return obstacle;
  const configHash = pinnedHash(context, job);
  const pod = await checkedPod(submitted, project, configHash, isLive);
  if (!("metadata" in pod)) return pod;
  const { spec } = partsOf(await templateOf(submitted));
  const unfit = isLive
    ? undefined
    : (excessiveGrace(context, project, spec) ?? unsupportedConstraint(pod));
  if (unfit) return unfit;
  const podSpec = fieldsOf(pod["spec"]);
  const { gpuResources } = context.settings;
  return (
    excessiveDemand(podSpec, job.spec.parallelism, gpuResources) ?? {
      project,
      priorityClass,
      configHash,
      podSpec,
    }
  );
}
