/** Translates the API server's errors about a pod to the job's fields. Pure. */
import { isForbidden, isInvalid, KubeError } from "../../kube/errors.ts";
import { listOf, partsOf } from "../../resources/pod-template.ts";
import type { Project } from "../../resources/types.ts";

/** Fields outside spec and metadata are prefixed with the template as a whole. */
const inTemplate = (field: string): string =>
  /^(spec|metadata)\b/.test(field) ? `spec.template.${field}` : `spec.template: ${field}`;

/** "spec.containers[0].image: Required value" -> the same under spec.template. */
function invalidFields({ causes }: KubeError): string {
  return causes
    .map(
      ({ field, message }) => `${field === "" ? "spec.template" : inTemplate(field)}: ${message}`,
    )
    .join("; ");
}

const strictError = /strict decoding error: (.*)$/;
const fieldInQuotes = /(unknown|duplicate) field "([^"]+)"/g;

const unknownFields = (words: string): string =>
  words.replace(
    fieldInQuotes,
    (_all, what: string, field: string) =>
      `${inTemplate(field)} is ${what === "unknown" ? "an unknown" : "a repeated"} field`,
  );

const violation = /violates PodSecurity "([^":]+)[^"]*": (.*)$/s;
const demanded =
  /(pod or containers?|containers?) ((?:"[^"]+"(?:, )?)+) must set (securityContext\.[\w.]+)(?:=| to )([^);]+)\)/g;

/** The paths of the named containers in the template. */
function containerPaths(template: unknown, quotedNames: string): string[] {
  const names = new Set([...quotedNames.matchAll(/"([^"]+)"/g)].map(([, name]) => name));
  const { spec } = partsOf(template);
  return ["initContainers", "containers"].flatMap((list) =>
    listOf(spec[list]).flatMap(({ name }, index) =>
      names.has(String(name)) ? [`spec.template.spec.${list}[${index}]`] : [],
    ),
  );
}

/** "set spec.template.spec.securityContext.runAsNonRoot to true" for each violation that a field can fix. */
function cures(template: unknown, words: string): string[] {
  return [...words.matchAll(demanded)].flatMap(
    ([, who = "", names = "", field = "", value = ""]) => {
      const holders = who.startsWith("pod or")
        ? ["spec.template.spec"]
        : containerPaths(template, names);
      return holders.map((holder) => `set ${holder}.${field} to ${value}`);
    },
  );
}

function securityTerms(template: unknown, project: Project, level: string, words: string): string {
  const steps = cures(template, words);
  const cure = steps.length > 0 ? steps.join(", ") : "change spec.template.spec accordingly";
  return `spec.template does not pass Pod Security level "${level}" of project ${project.name}: ${words}. To pass, ${cure}; or have the project's spec.podSecurity lowered`;
}

/**
 * The message for a template that failed its dry run: Pod Security, unknown fields, invalid fields, or anything else.
 */
export function templateRejection(error: KubeError, template: unknown, project: Project): string {
  const [, level, words] = violation.exec(error.explanation) ?? [];
  if (level !== undefined && words !== undefined)
    return securityTerms(template, project, level, words);
  const strict = strictError.exec(error.explanation)?.[1];
  if (strict !== undefined) return unknownFields(strict);
  if (error.causes.length > 0) return invalidFields(error);
  return `spec.template: ${error.explanation}`;
}

export interface PodRejection {
  readonly message: string;
  /** Whether the same pod may be allowed later. */
  readonly passes: boolean;
}

const missingRight = /cannot create resource/;
const passing = /exceeded quota|being terminated/;

/**
 * The rejection of a pod whose template passed when the job was queued: the namespace's level was raised, a quota is
 * exhausted, a policy is new. Undefined if the error is not about the pod.
 */
export function rejectionOfPod(error: unknown): PodRejection | undefined {
  if (!(error instanceof KubeError) || missingRight.test(error.explanation)) return undefined;
  if (!isForbidden(error) && !isInvalid(error) && error.status !== 400) return undefined;
  return {
    message: `the API server rejects the pods: ${error.explanation}`,
    passes: passing.test(error.explanation),
  };
}
