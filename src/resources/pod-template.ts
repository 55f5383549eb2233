/** The parts of a job's template, and the fields that it must not set because Rota sets them. Pure. */
import { configMountPath, configVolumeName, group, environmentNames } from "../api/names.ts";
import { fieldsOf } from "./meta.ts";

export type Fields = Readonly<Record<string, unknown>>;

export interface TemplateParts {
  readonly metadata: Fields;
  readonly spec: Fields;
}

/** @param template the job's PodTemplateSpec from the API server */
export function partsOf(template: unknown): TemplateParts {
  const { metadata, spec } = fieldsOf(template);
  return { metadata: fieldsOf(metadata), spec: fieldsOf(spec) };
}

/** The value as a list of objects; [] if it is not a list. */
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

/** Kubernetes ignores name and namespace of a template too, so they are allowed. */
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
    ...unknown.map((field) => `${path("metadata", field)} is not a field of a pod template`),
    ...ownLabels.map(
      (key) => `${path("metadata")}.labels["${key}"] is reserved for Rota; remove it`,
    ),
    ...(isSet(metadata["ownerReferences"])
      ? [`${path("metadata.ownerReferences")} is set by Rota; remove it`]
      : []),
    ...(isSet(metadata["finalizers"])
      ? [`${path("metadata.finalizers")} would keep the job's capacity after its end; remove it`]
      : []),
  ];
}

/** Fields that Rota sets, with what to use instead. */
const ownedFields: Readonly<Record<string, string>> = {
  nodeName: "Rota chooses the nodes; use nodeSelector or affinity",
  schedulingGates: "use spec.suspend to hold a job back",
  priorityClassName: "a job's priority is spec.priorityClassName; remove it",
  priority: "a job's priority is spec.priorityClassName; remove it",
  preemptionPolicy: "the class named by spec.priorityClassName sets it; remove it",
};
const ownedInGangs: Readonly<Record<string, string>> = {
  hostname: "Rota sets stable host names for the pods of a gang; remove it",
  subdomain: "Rota sets stable host names for the pods of a gang; remove it",
};

function ownedFieldProblems(spec: Fields, { parallelism }: TemplateUse): string[] {
  const owned = parallelism > 1 ? { ...ownedFields, ...ownedInGangs } : ownedFields;
  const { restartPolicy } = spec;
  return [
    ...Object.entries(owned)
      .filter(([field]) => isSet(spec[field]))
      .map(([field, why]) => `${path("spec", field)} must not be set: ${why}`),
    ...(isSet(restartPolicy) && restartPolicy !== "Never"
      ? [
          `${path("spec.restartPolicy")} "${String(restartPolicy)}" is not supported: a failed gang is restarted as a whole; remove it and set spec.backoffLimit`,
        ]
      : []),
  ];
}

const isOwnVolume = (name: unknown): boolean =>
  typeof name === "string" && (name === configVolumeName || name.startsWith("rota-storage-"));

/** Mount paths of Rota, with what is mounted there. */
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
            `${here}.volumeMounts[${at}].mountPath "${String(mountPath)}" is already used for ${what}`,
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
      : [`spec.storages[${index}].mountPath "${mountPath}" is already used for ${other}`];
  });
}

/** The problems of a template, each with its field; empty if Rota can create pods from it. */
export function templateProblems(template: unknown, use: TemplateUse): string[] {
  const { metadata, spec } = partsOf(template);
  const unknown = Object.keys(fieldsOf(template)).filter(
    (field) => field !== "metadata" && field !== "spec",
  );
  const mounts = mountPaths(use);
  return [
    ...unknown.map((field) => `${path(field)} is not a field of a pod template`),
    ...metadataProblems(metadata),
    ...ownedFieldProblems(spec, use),
    ...listOf(spec["volumes"]).flatMap(({ name }, index) =>
      isOwnVolume(name)
        ? [
            `${path("spec.volumes")}[${index}].name "${String(name)}" is reserved for Rota; choose another name`,
          ]
        : [],
    ),
    ...containerProblems(spec["initContainers"], "initContainers", mounts),
    ...containerProblems(spec["containers"], "containers", mounts),
    ...storageProblems(use),
  ];
}
