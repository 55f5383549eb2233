/**
 * Fills in the fields that a pod needs to pass the Pod Security level of its namespace, where its template leaves them
 * unset and the default only removes what the level forbids anyway. Fields of the template are never changed. Pure.
 *
 * runAsNonRoot is filled in only together with a user that is not root. With an image that runs as root, the pod would
 * be created but never start; it is better to reject such a template when the job is submitted.
 */
import { fieldsOf } from "./meta.ts";
import { listOf } from "./pod-template.ts";
import type { Fields } from "./pod-template.ts";

export type PodSecurityLevel = "restricted" | "baseline" | "privileged";

const securityContextOf = (holder: Fields): Fields => fieldsOf(holder["securityContext"]);

const isUser = (uid: unknown): boolean => typeof uid === "number" && uid !== 0;

function restrictedContainer(container: Fields): Fields {
  const given = securityContextOf(container);
  const capabilities = fieldsOf(given["capabilities"]);
  return {
    ...container,
    securityContext: {
      ...given,
      allowPrivilegeEscalation: given["allowPrivilegeEscalation"] ?? false,
      capabilities: { ...capabilities, drop: capabilities["drop"] ?? ["ALL"] },
    },
  };
}

/** Whether the template ensures that no container runs as root. */
function runsAsUser(spec: Fields): boolean {
  const ofPod = securityContextOf(spec)["runAsUser"];
  return [...listOf(spec["initContainers"]), ...listOf(spec["containers"])].every((container) =>
    isUser(securityContextOf(container)["runAsUser"] ?? ofPod),
  );
}

function restrictedPod(spec: Fields): Fields {
  const given = securityContextOf(spec);
  const nonRoot =
    given["runAsNonRoot"] === undefined && runsAsUser(spec) ? { runAsNonRoot: true } : {};
  return {
    ...given,
    ...nonRoot,
    seccompProfile: given["seccompProfile"] ?? { type: "RuntimeDefault" },
  };
}

/** Windows has neither capabilities nor seccomp: the API server refuses them, and the level does not require them. */
const isWindows = (spec: Fields): boolean => fieldsOf(spec["os"])["name"] === "windows";

/** @param spec a PodSpec */
export function withSecurityDefaults(spec: Fields, level: PodSecurityLevel): Fields {
  if (level !== "restricted" || isWindows(spec)) return spec;
  const initContainers = listOf(spec["initContainers"]).map(restrictedContainer);
  return {
    ...spec,
    securityContext: restrictedPod(spec),
    ...(initContainers.length > 0 ? { initContainers } : {}),
    containers: listOf(spec["containers"]).map(restrictedContainer),
  };
}
