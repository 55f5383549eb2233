/** Translates the API server's errors about a pod to the job's fields. Pure. */
import { isForbidden, isInvalid, KubeError } from "../../kube/errors.ts";
import { listOf, partsOf } from "../../resources/pod-template.ts";
import type { Project } from "../../resources/types.ts";

/** Fields outside spec and metadata are prefixed with the template as a whole. */
const inTemplate = (field: string): string =>
  /^(spec|metadata)\b/.test(field) ? `spec.template.${field}` : `spec.template: ${field}`;

/** Invalid fields that are named; more are counted. A template may have thousands, each with a message. */
const maxFields = 5;

/** "spec.containers[0].image: Required value" -> the same under spec.template. */
function invalidFields({ causes }: KubeError): string {
  const named = causes
    .slice(0, maxFields)
    .map(
      ({ field, message }) => `${field === "" ? "spec.template" : inTemplate(field)}: ${message}`,
    )
    .join("; ");
  const more = causes.length - maxFields;
  return more > 0 ? `${named} and ${more} more` : named;
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

const missingRight = /cannot (create|get|delete) resource/;
const passing = /exceeded quota|being terminated/;

/** A webhook that is down or too slow: 500, and after its time-out 504 or 500. */
const isWebhookFailure = ({ status, explanation }: KubeError): boolean =>
  status >= 500 && /calling webhook/.test(explanation);

const isRefusal = (error: KubeError): boolean =>
  isForbidden(error) || isInvalid(error) || error.status === 400;

/**
 * Pods, or what they need (Service, ConfigMap), that the API server refuses though the template passed when the job was
 * queued: the namespace's level was raised, a quota is used up, a policy is new, a webhook is down. Undefined when the
 * error says nothing about them.
 */
export function rejectionOfPod(error: unknown): PodRejection | undefined {
  if (!(error instanceof KubeError) || missingRight.test(error.explanation)) return undefined;
  const isPassing = isWebhookFailure(error);
  if (!isPassing && !isRefusal(error)) return undefined;
  return {
    message: `the API server rejects the ${error.resource}: ${error.explanation}`,
    passes: isPassing || error.resource !== "pods" || passing.test(error.explanation),
  };
}
