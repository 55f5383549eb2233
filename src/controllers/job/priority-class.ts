/** Which priority class a job has, and whether its project allows it: one rule for new jobs and for every later change. */
import type { JobView } from "../../db/jobs/read.ts";
import type { Job, Project } from "../../resources/types.ts";
import { allowedPriorityClasses, priorityClassOf } from "../references.ts";
import type { ClassInEffect } from "../references.ts";
import type { Context } from "../context.ts";
import { isLiveStatus } from "./observed-state.ts";
import { refuse } from "./rejection.ts";
import type { Rejection } from "./rejection.ts";

/** Kubernetes keeps classes of this prefix for the cluster's own pods; they rank above every user's. */
const systemPrefix = "system-";

/** Priority 0 without a class: no list can name it, and nothing ranks below it but negative classes. */
const noClass = "";

const isAllowed = (name: string, allowed: readonly string[] | undefined): boolean =>
  name === noClass || (allowed?.includes(name) ?? !name.startsWith(systemPrefix));

const subjectOf = ({ spec }: Job, name: string): string =>
  spec.priorityClassName === undefined
    ? `spec.priorityClassName is absent, and the cluster's default class "${name}"`
    : `spec.priorityClassName "${name}"`;

/** The class that the job asks for, or the cluster's default; why it cannot have it otherwise. */
export function judgeClass(
  context: Context,
  job: Job,
  project: Project,
): ClassInEffect | Rejection {
  const allowed = allowedPriorityClasses(context, project);
  const wanted = priorityClassOf(context, job);
  if (wanted === undefined) {
    const usable = [...context.informers.priorityClasses.store.keys()].filter((known) =>
      isAllowed(known, allowed),
    );
    return refuse(
      "PriorityClassNotFound",
      `spec.priorityClassName "${job.spec.priorityClassName ?? ""}" does not exist; allowed: ${usable.toSorted().join(", ") || "none"}`,
    );
  }
  if (isAllowed(wanted.name, allowed)) return wanted;
  return refuse(
    "PriorityClassNotAllowed",
    `${subjectOf(job, wanted.name)} is not allowed in project ${project.name}; allowed: ${allowed?.join(", ") ?? `all but ${systemPrefix}...`}`,
  );
}

/**
 * The same for a job that is queued. A running job keeps what it runs with: its class cannot change meanwhile, and a list
 * that is narrowed is for jobs that wait. So does a job whose class was deleted.
 */
export function judgeQueuedClass(
  context: Context,
  job: Job,
  project: Project | undefined,
  view: JobView,
): ClassInEffect | Rejection | undefined {
  if (project === undefined || isLiveStatus(view.status)) return undefined;
  const judged = judgeClass(context, job, project);
  const isDeletedClass =
    "reason" in judged &&
    judged.reason === "PriorityClassNotFound" &&
    job.spec.priorityClassName === view.priorityClass;
  return isDeletedClass ? undefined : judged;
}
