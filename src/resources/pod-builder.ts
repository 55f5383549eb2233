/** Makes the pods of a job from its template: named, labelled, owned, pinned to the chosen node. Pure. */
import {
  apiVersion,
  configFileName,
  configMapName,
  configMountPath,
  labels,
  podName,
} from "../api/names.ts";
import type { KubeObject } from "../kube/resource.ts";
import { fieldsOf } from "./meta.ts";

export interface PodOrder {
  readonly job: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly project: string;
  readonly attempt: number;
  readonly index: number;
  readonly parallelism: number;
  /** Absent for the dry run that checks the template. */
  readonly node?: string;
  readonly configHash?: string;
  readonly storages: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
  }[];
}

type Fields = Readonly<Record<string, unknown>>;

const listOf = (value: unknown): readonly Fields[] =>
  Array.isArray(value) ? (value as Fields[]) : [];

/** Every term must name the node, since the terms of a node selector are alternatives. */
function pinned(affinity: Fields, node: string): Fields {
  const nodeAffinity = fieldsOf(affinity["nodeAffinity"]);
  const required = fieldsOf(nodeAffinity["requiredDuringSchedulingIgnoredDuringExecution"]);
  const terms = listOf(required["nodeSelectorTerms"]);
  const onNode = { key: "metadata.name", operator: "In", values: [node] };
  return {
    ...affinity,
    nodeAffinity: {
      ...nodeAffinity,
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: (terms.length > 0 ? terms : [{}]).map((term) => ({
          ...term,
          matchFields: [...listOf(term["matchFields"]), onNode],
        })),
      },
    },
  };
}

interface Mounts {
  readonly volumes: readonly Fields[];
  readonly volumeMounts: readonly Fields[];
}

function mountsOf(order: PodOrder): Mounts {
  const storages = order.storages.map(({ name, readOnly }) => ({
    name: `storage-${name}`,
    persistentVolumeClaim: { claimName: name, readOnly: readOnly === true },
  }));
  const storageMounts = order.storages.map(({ name, mountPath, readOnly }) => ({
    name: `storage-${name}`,
    mountPath,
    readOnly: readOnly === true,
  }));
  if (order.configHash === undefined) return { volumes: storages, volumeMounts: storageMounts };
  return {
    volumes: [
      ...storages,
      {
        name: "rota-config",
        configMap: {
          name: configMapName(order.configHash),
          items: [{ key: configFileName, path: configFileName }],
        },
      },
    ],
    volumeMounts: [
      ...storageMounts,
      { name: "rota-config", mountPath: configMountPath, readOnly: true },
    ],
  };
}

const environmentOf = (order: PodOrder): readonly Fields[] => [
  { name: "ROTA_JOB_INDEX", value: String(order.index) },
  { name: "ROTA_JOB_SIZE", value: String(order.parallelism) },
  { name: "ROTA_JOB_ATTEMPT", value: String(order.attempt) },
];

function prepared(container: Fields, order: PodOrder, mounts: Mounts): Fields {
  return {
    ...container,
    env: [...listOf(container["env"]), ...environmentOf(order)],
    volumeMounts: [...listOf(container["volumeMounts"]), ...mounts.volumeMounts],
  };
}

/** The pod of one index of the gang. `template` is the job's PodTemplateSpec as the API server returned it. */
export function buildPod(template: unknown, order: PodOrder): KubeObject {
  const { metadata, spec } = fieldsOf(template) as { metadata?: unknown; spec?: unknown };
  const given = fieldsOf(metadata);
  const podSpec = fieldsOf(spec);
  const mounts = mountsOf(order);
  const prepare = (container: Fields) => prepared(container, order, mounts);
  const initContainers = listOf(podSpec["initContainers"]).map(prepare);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(order.job.name, order.attempt, order.index),
      namespace: order.job.namespace,
      annotations: fieldsOf(given["annotations"]) as Record<string, string>,
      labels: {
        ...(fieldsOf(given["labels"]) as Record<string, string>),
        [labels.job]: order.job.name,
        [labels.jobUid]: order.job.uid,
        [labels.attempt]: String(order.attempt),
        [labels.index]: String(order.index),
        [labels.project]: order.project,
      },
      ownerReferences: [
        {
          apiVersion,
          kind: "Job",
          name: order.job.name,
          uid: order.job.uid,
          controller: true,
          blockOwnerDeletion: false,
        },
      ],
    },
    spec: {
      ...podSpec,
      restartPolicy: "Never",
      containers: listOf(podSpec["containers"]).map(prepare),
      ...(initContainers.length > 0 ? { initContainers } : {}),
      volumes: [...listOf(podSpec["volumes"]), ...mounts.volumes],
      ...(order.node === undefined
        ? {}
        : { affinity: pinned(fieldsOf(podSpec["affinity"]), order.node) }),
    },
  };
}
