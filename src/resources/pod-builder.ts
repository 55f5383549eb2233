/** Builds the pods of a job from its template: named, labelled, owned, completed, pinned to their node. Pure. */
import {
  annotations,
  apiVersion,
  configFileName,
  configMapName,
  configMountPath,
  configVolumeName,
  environment,
  gangAddress,
  gangService,
  hostName,
  labels,
  podName,
  storageVolumeName,
} from "../api/names.ts";
import { allOf } from "../domain/scheduling/node-affinity.ts";
import type { NodeSelectorTerm } from "../domain/scheduling/snapshot.ts";
import type { KubeObject } from "../kube/resource.ts";
import { fieldsOf } from "./meta.ts";
import { withSecurityDefaults } from "./pod-security.ts";
import type { PodSecurityLevel } from "./pod-security.ts";
import { listOf, partsOf } from "./pod-template.ts";
import type { Fields, MountedStorage } from "./pod-template.ts";

export interface StorageMount extends MountedStorage {
  readonly readOnly?: boolean;
  /** Node selector terms of the nodes that reach it; absent: all nodes. */
  readonly nodeTerms?: readonly NodeSelectorTerm[];
}

export interface PodOrder {
  readonly job: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly project: string;
  readonly podSecurity: PodSecurityLevel;
  readonly attempt: number;
  readonly index: number;
  readonly parallelism: number;
  /** Absent in the dry run of a template. */
  readonly node?: string;
  readonly nodeUid?: string;
  readonly configHash?: string;
  readonly storages: readonly StorageMount[];
}

const isGang = (order: PodOrder): boolean => order.parallelism > 1;

/**
 * The terms required by the template and by the storages. If their product is too large, only those of the template:
 * the node that the pod is pinned to satisfies all of them anyway.
 */
function requiredTerms(
  own: readonly NodeSelectorTerm[] | undefined,
  storages: readonly StorageMount[],
): readonly NodeSelectorTerm[] | undefined {
  const ofStorages = storages.flatMap(({ nodeTerms }) => (nodeTerms ? [nodeTerms] : []));
  const lists = own === undefined ? ofStorages : [own, ...ofStorages];
  if (lists.length === 0) return undefined;
  return allOf(lists) ?? (own && allOf([own], own.length));
}

/** Adds the node to every term, because the terms of a node selector are ORed. */
function pinned(terms: readonly NodeSelectorTerm[] | undefined, node: string): NodeSelectorTerm[] {
  const onNode = { key: "metadata.name", operator: "In", values: [node] };
  return (terms ?? [{}]).map((term) => ({
    ...term,
    matchFields: [...(term.matchFields ?? []), onNode],
  }));
}

function affinityOf(podSpec: Fields, order: PodOrder): Fields | undefined {
  const affinity = fieldsOf(podSpec["affinity"]);
  const nodeAffinity = fieldsOf(affinity["nodeAffinity"]);
  const { nodeSelectorTerms } = fieldsOf(
    nodeAffinity["requiredDuringSchedulingIgnoredDuringExecution"],
  );
  const own = nodeSelectorTerms as readonly NodeSelectorTerm[] | undefined;
  const terms = requiredTerms(own, order.storages);
  const placed = order.node === undefined ? terms : pinned(terms, order.node);
  if (placed === undefined) return undefined;
  return {
    ...affinity,
    nodeAffinity: {
      ...nodeAffinity,
      // An empty term matches no node; the API server does not accept an empty list.
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: placed.length > 0 ? placed : [{}],
      },
    },
  };
}

interface Mounts {
  readonly volumes: readonly Fields[];
  readonly volumeMounts: readonly Fields[];
}

function storageMounts({ storages }: PodOrder): Mounts {
  return {
    volumes: storages.map(({ name, readOnly }, index) => ({
      name: storageVolumeName(index),
      persistentVolumeClaim: { claimName: name, readOnly: readOnly === true },
    })),
    volumeMounts: storages.map(({ mountPath, readOnly }, index) => ({
      name: storageVolumeName(index),
      mountPath,
      readOnly: readOnly === true,
    })),
  };
}

function configMount({ configHash }: PodOrder): Mounts {
  if (configHash === undefined) return { volumes: [], volumeMounts: [] };
  const items = [{ key: configFileName, path: configFileName }];
  return {
    volumes: [{ name: configVolumeName, configMap: { name: configMapName(configHash), items } }],
    volumeMounts: [{ name: configVolumeName, mountPath: configMountPath, readOnly: true }],
  };
}

function mountsOf(order: PodOrder): Mounts {
  const storages = storageMounts(order);
  const config = configMount(order);
  return {
    volumes: [...storages.volumes, ...config.volumes],
    volumeMounts: [...storages.volumeMounts, ...config.volumeMounts],
  };
}

function environmentOf(order: PodOrder): readonly Fields[] {
  const { job, index, parallelism, attempt, configHash } = order;
  // A single pod is its own leader and needs no DNS name.
  const leader = isGang(order) ? gangAddress(job.name, 0, job.namespace) : "localhost";
  return [
    { name: environment.job, value: job.name },
    { name: environment.index, value: String(index) },
    { name: environment.size, value: String(parallelism) },
    { name: environment.attempt, value: String(attempt) },
    { name: environment.leader, value: leader },
    ...(configHash === undefined ? [] : [{ name: environment.configHash, value: configHash }]),
  ];
}

/** Rota's variables come first, so that the template's variables can refer to them: $(ROTA_JOB_INDEX). */
function equipped(container: Fields, order: PodOrder, mounts: Mounts): Fields {
  return {
    ...container,
    env: [...environmentOf(order), ...listOf(container["env"])],
    volumeMounts: [...listOf(container["volumeMounts"]), ...mounts.volumeMounts],
  };
}

function labelsOf(given: Fields, order: PodOrder): Record<string, string> {
  return {
    ...(fieldsOf(given["labels"]) as Record<string, string>),
    [labels.job]: order.job.name,
    [labels.jobUid]: order.job.uid,
    [labels.attempt]: String(order.attempt),
    [labels.index]: String(order.index),
    [labels.project]: order.project,
    ...(isGang(order) ? { [labels.gang]: gangService } : {}),
  };
}

function annotationsOf(given: Fields, { nodeUid }: PodOrder): Record<string, string> {
  const own = fieldsOf(given["annotations"]) as Record<string, string>;
  return nodeUid === undefined ? own : { ...own, [annotations.nodeUid]: nodeUid };
}

function specOf(podSpec: Fields, order: PodOrder): Fields {
  const mounts = mountsOf(order);
  const equip = (container: Fields) => equipped(container, order, mounts);
  const initContainers = listOf(podSpec["initContainers"]).map(equip);
  const affinity = affinityOf(podSpec, order);
  return {
    ...podSpec,
    restartPolicy: "Never",
    ...(isGang(order)
      ? { hostname: hostName(order.job.name, order.index), subdomain: gangService }
      : {}),
    ...(initContainers.length > 0 ? { initContainers } : {}),
    containers: listOf(podSpec["containers"]).map(equip),
    volumes: [...listOf(podSpec["volumes"]), ...mounts.volumes],
    ...(affinity === undefined ? {} : { affinity }),
  };
}

/** The pod of one index of the gang. `template` is the job's PodTemplateSpec from the API server. */
export function buildPod(template: unknown, order: PodOrder): KubeObject {
  const { metadata, spec } = partsOf(template);
  const { name, namespace, uid } = order.job;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(name, order.attempt, order.index),
      namespace,
      annotations: annotationsOf(metadata, order),
      labels: labelsOf(metadata, order),
      ownerReferences: [
        { apiVersion, kind: "Job", name, uid, controller: true, blockOwnerDeletion: false },
      ],
    },
    spec: withSecurityDefaults(specOf(spec, order), order.podSecurity),
  };
}
