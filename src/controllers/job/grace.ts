/** Grace periods are bounded when a job is queued, and again when its pods leave: the bound may have been lowered. */
import { listOf } from "../../resources/pod-template.ts";
import type { Pod, Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { maxGraceSeconds, projectOfNamespace } from "../references.ts";
import { refuse } from "./rejection.ts";
import type { Rejection } from "./rejection.ts";

type Fields = Readonly<Record<string, unknown>>;

interface Grace {
  readonly field: string;
  readonly seconds: unknown;
}

/** The pod's own, and those of its probes, which the kubelet takes when one of them fails. */
function gracesOf(spec: Fields): Grace[] {
  const ofProbes = ["initContainers", "containers"].flatMap((list) =>
    listOf(spec[list]).flatMap((container, at) =>
      ["livenessProbe", "startupProbe"].map((probe) => ({
        field: `${list}[${at}].${probe}.terminationGracePeriodSeconds`,
        seconds: (container[probe] as Fields | undefined)?.["terminationGracePeriodSeconds"],
      })),
    ),
  );
  const field = "terminationGracePeriodSeconds";
  return [{ field, seconds: spec[field] }, ...ofProbes];
}

/** @param spec of the template: where it says nothing, the default is lowered when the pods leave */
export function excessiveGrace(
  context: Context,
  project: Project,
  spec: Fields,
): Rejection | undefined {
  const max = maxGraceSeconds(context, project);
  const found = gracesOf(spec).find(({ seconds }) => typeof seconds === "number" && seconds > max);
  if (found === undefined) return undefined;
  return refuse(
    "InvalidValue",
    `spec.template.spec.${found.field}: ${String(found.seconds)} must be at most ${max}, the maximum of project ${project.name}`,
  );
}

type Bounds = Pick<Context, "informers" | "settings">;
type GracefulPod = Pick<Pod, "namespace" | "graceSeconds">;

const maxGraceOf = (context: Bounds, { namespace }: GracefulPod): number =>
  maxGraceSeconds(context, projectOfNamespace(context, namespace));

/** Whether the pod's grace period is longer than allowed. */
export const isGraceTooLong = (context: Bounds, pod: GracefulPod): boolean =>
  pod.graceSeconds > maxGraceOf(context, pod);

/** Options of a deletion or an eviction that lower a grace period that is too long. */
export const loweredGrace = (
  context: Bounds,
  pod: GracefulPod,
): { readonly gracePeriodSeconds?: number } =>
  isGraceTooLong(context, pod) ? { gracePeriodSeconds: maxGraceOf(context, pod) } : {};
