/** The parts of a job's template, and what a template may not say because Rota says it. Pure. */
import { configMountPath, configVolumeName, group, environmentNames } from "../api/names.ts";
import { fieldsOf } from "./meta.ts";

export type Fields = Readonly<Record<string, unknown>>;

export interface TemplateParts {
  readonly metadata: Fields;
  readonly spec: Fields;
}

/** @param template the job's PodTemplateSpec as the API server returned it */
export function partsOf(template: unknown): TemplateParts {
  const { metadata, spec } = fieldsOf(template);
  return { metadata: fieldsOf(metadata), spec: fieldsOf(spec) };
}

export const listOf = (value: unknown): readonly Fields[] =>
  Array.isArray(value) ? value.map(fieldsOf) : [];

export interface MountedStorage {
  readonly name: string;
  readonly mountPath: string;
}

export interface TemplateUse {
  readonly parallelism: number;
  readonly storages: readonly MountedStorage[];
  readonly hasConfig: boolean;
}

const path = (...parts: readonly string[]): string => ["spec.template", ...parts].join(".");

const isSet = (value: unknown): boolean =>
  value !== undefined &&
  value !== null &&
  value !== "" &&
  !(Array.isArray(value) && value.length === 0);

/** Names and namespace of a template mean nothing in Kubernetes either, so they are not refused. */
const knownMetadata = new Set([
  "name",
  "generateName",
  "namespace",
  "creationTimestamp",
  "labels",
  "annotations",
  "ownerReferences",
  "finalizers",
]);

function metadataProblems(metadata: Fields): string[] {
  const unknown = Object.keys(metadata).filter((field) => !knownMetadata.has(field));
  const ownLabels = Object.keys(fieldsOf(metadata["labels"])).filter((key) =>
    key.startsWith(`${group}/`),
  );
  return [
    ...unknown.map((field) => `${path("metadata", field)} is no field of a pod template`),
    ...ownLabels.map((key) => `${path("metadata")}.labels["${key}"] belongs to Rota; remove it`),
    ...(isSet(metadata["ownerReferences"])
      ? [`${path("metadata.ownerReferences")} is set by Rota; remove it`]
      : []),
    ...(isSet(metadata["finalizers"])
      ? [`${path("metadata.finalizers")} would keep the job's room after its end; remove it`]
      : []),
  ];
}

/** Fields that Rota decides, with what to use in their place. */
const ownedFields: Readonly<Record<string, string>> = {
  nodeName: "Rota chooses the nodes; use nodeSelector or affinity",
  schedulingGates: "Rota holds jobs back itself; use spec.suspend",
  priorityClassName: "a job's priority is spec.priorityClassName; remove it",
  priority: "a job's priority is spec.priorityClassName; remove it",
  preemptionPolicy: "it comes with the class named by spec.priorityClassName; remove it",
};
const ownedInGangs: Readonly<Record<string, string>> = {
  hostname: "Rota names the pods of a gang, for their addresses to be stable; remove it",
  subdomain: "Rota names the pods of a gang, for their addresses to be stable; remove it",
};

function ownedFieldProblems(spec: Fields, { parallelism }: TemplateUse): string[] {
  const owned = parallelism > 1 ? { ...ownedFields, ...ownedInGangs } : ownedFields;
  const { restartPolicy } = spec;
  return [
    ...Object.entries(owned)
      .filter(([field]) => isSet(spec[field]))
      .map(([field, why]) => `${path("spec", field)} is not for templates: ${why}`),
    ...(isSet(restartPolicy) && restartPolicy !== "Never"
      ? [
          `${path("spec.restartPolicy")} "${String(restartPolicy)}" is not possible: a failed gang starts anew as a whole; remove it, and set spec.backoffLimit`,
        ]
      : []),
  ];
}

const isOwnVolume = (name: unknown): boolean =>
  typeof name === "string" && (name === configVolumeName || name.startsWith("rota-storage-"));

/** Where Rota mounts something, and what. */
function mountPaths({ storages, hasConfig }: TemplateUse): Map<string, string> {
  return new Map([
    ...storages.map(({ name, mountPath }): [string, string] => [mountPath, `storage ${name}`]),
    ...(hasConfig ? [[configMountPath, "the configuration"] as [string, string]] : []),
  ]);
}

function containerProblems(containers: unknown, list: string, mounts: Map<string, string>) {
  return listOf(containers).flatMap((container, index) => {
    const here = `${path("spec", list)}[${index}]`;
    const env = listOf(container["env"]).flatMap(({ name }, at) =>
      environmentNames.has(String(name))
        ? [`${here}.env[${at}]: ${String(name)} is set by Rota`]
        : [],
    );
    const mounted = listOf(container["volumeMounts"]).flatMap(({ mountPath }, at) => {
      const what = mounts.get(String(mountPath));
      return what === undefined
        ? []
        : [
            `${here}.volumeMounts[${at}].mountPath "${String(mountPath)}" is where ${what} is mounted`,
          ];
    });
    return [...env, ...mounted];
  });
}

function storageProblems(use: TemplateUse): string[] {
  const seen = new Map<string, string>(
    use.hasConfig ? [[configMountPath, "the configuration"]] : [],
  );
  return use.storages.flatMap(({ name, mountPath }, index) => {
    const other = seen.get(mountPath);
    seen.set(mountPath, `storage ${name}`);
    return other === undefined
      ? []
      : [`spec.storages[${index}].mountPath "${mountPath}" is where ${other} is mounted`];
  });
}

/** What has to change in the template before Rota can make pods of it; each names its field. */
export function templateProblems(template: unknown, use: TemplateUse): string[] {
  const { metadata, spec } = partsOf(template);
  const unknown = Object.keys(fieldsOf(template)).filter(
    (field) => field !== "metadata" && field !== "spec",
  );
  const mounts = mountPaths(use);
  return [
    ...unknown.map((field) => `${path(field)} is no field of a pod template`),
    ...metadataProblems(metadata),
    ...ownedFieldProblems(spec, use),
    ...listOf(spec["volumes"]).flatMap(({ name }, index) =>
      isOwnVolume(name)
        ? [
            `${path("spec.volumes")}[${index}].name "${String(name)}" belongs to Rota; choose another`,
          ]
        : [],
    ),
    ...containerProblems(spec["initContainers"], "initContainers", mounts),
    ...containerProblems(spec["containers"], "containers", mounts),
    ...storageProblems(use),
  ];
}
