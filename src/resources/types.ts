/** The resources Rota watches, each projected to the fields it needs. */
import {
  annotations,
  apiVersion,
  defaultPool,
  group,
  labels,
  podName,
  version,
} from "../api/names.ts";
import type {
  ConfigCommitSpec,
  ConfigCommitStatus,
  JobSpec,
  JobStatus,
  ProjectSpec,
  ProjectStatus,
  ResourcePlanSpec,
  ResourcePlanStatus,
} from "../api/generated.ts";
import type { NamespaceQuota, ScopeSelector } from "../domain/namespace-quota.ts";
import { podDemand } from "../domain/pod-demand.ts";
import { withExclusives } from "../domain/exclusive-resources.ts";
import { isDevice, isOtherResource, parseOther } from "../domain/resource-names.ts";
import type { DemandingPodSpec, PodDemand } from "../domain/pod-demand.ts";
import {
  exactMillis,
  maxAmount,
  parseBytes,
  parseCount,
  parseCpuMillis,
} from "../domain/quantity.ts";
import type { KubeObject, ResourceName, ResourceType } from "../kube/resource.ts";
import { controllerOf, fieldsOf, metaOf, textOf } from "./meta.ts";
import type { Meta } from "./meta.ts";
import { disruptionOf, failureOf, isRejected, obstacleOf, startPhaseOf } from "./pod-messages.ts";
import type { StartPhase } from "./pod-messages.ts";

export interface Project extends Meta {
  readonly finalizers: readonly string[];
  readonly spec: ProjectSpec;
  readonly status: ProjectStatus;
}
export interface ResourcePlan extends Meta {
  readonly spec: ResourcePlanSpec;
  readonly status: ResourcePlanStatus;
}
/** Without its template, which is read when pods are created. */
export interface Job extends Meta {
  readonly spec: Omit<JobSpec, "template">;
  readonly status: JobStatus;
}
/** Without its content and its message, which are read once. */
export interface ConfigCommit extends Meta {
  readonly spec: Omit<ConfigCommitSpec, "content" | "message">;
  readonly status: ConfigCommitStatus;
}
export interface PriorityClass extends Meta {
  readonly value: number;
  readonly preemptionPolicy: "PreemptLowerPriority" | "Never";
  readonly globalDefault: boolean;
}
/** With the fields of its metadata. */
export type StoredQuota = Meta & NamespaceQuota;

export interface NodeCapacity extends PodDemand {
  readonly pods: number;
}
export interface ClusterNode extends Meta {
  readonly pool: string;
  /** Condition Ready is True: the kubelet is ready and responds. */
  readonly ready: boolean;
  /** Ready and not cordoned. */
  readonly schedulable: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly {
    readonly key: string;
    readonly value?: string;
    readonly effect: string;
  }[];
  readonly allocatable: NodeCapacity;
  /** GPUs of the node's capacity that are not allocatable, because its device plugin reports them as unhealthy. */
  readonly unhealthyGpus: number;
  /** The same of other devices, by name; absent: none. */
  readonly unhealthyByName?: Readonly<Record<string, number>>;
}
export interface Pod extends Meta {
  /** namespace/name of its job; empty for pods that are not Rota's. */
  readonly jobKey: string;
  readonly jobUid: string;
  readonly attempt: number;
  /** In the gang, from 0. */
  readonly index: number;
  readonly nodeName: string;
  /** Of the Node that it was made for; empty where that is not known. */
  readonly nodeUid: string;
  /** Seconds that it has to end, once it is asked to leave. */
  readonly graceSeconds: number;
  /** End of its grace period once its deletion was requested; empty before. */
  readonly leavesAt: string;
  readonly phase: string;
  readonly ready: boolean;
  /** Why it does not run yet, in the cluster's words; empty otherwise. */
  readonly obstacle: string;
  readonly startPhase: StartPhase;
  /** Why it failed; empty otherwise. */
  readonly failure: string;
  /** It failed because its kubelet rejected it. */
  readonly rejected: boolean;
  /** Why the cluster ended it; empty if it did not. */
  readonly disruption: string;
  readonly demand: PodDemand;
}

const ofRota = (plural: string, kind: string, namespaced: boolean): ResourceName => ({
  group,
  version,
  plural,
  kind,
  namespaced,
});

const specOf = <Spec>(raw: KubeObject, ...without: readonly string[]): Spec => {
  const spec = { ...fieldsOf(raw["spec"]) };
  for (const field of without) delete spec[field];
  return spec as Spec;
};
const statusOf = <Status>(raw: KubeObject): Status => fieldsOf(raw["status"]) as Status;

export const projects: ResourceType<Project> = {
  ...ofRota("projects", "Project", false),
  project: (raw) => ({
    ...metaOf(raw),
    finalizers: raw.metadata.finalizers ?? [],
    spec: specOf(raw),
    status: statusOf(raw),
  }),
};
export const resourcePlans: ResourceType<ResourcePlan> = {
  ...ofRota("resourceplans", "ResourcePlan", false),
  project: (raw) => ({ ...metaOf(raw), spec: specOf(raw), status: statusOf(raw) }),
};
export const jobs: ResourceType<Job> = {
  ...ofRota("jobs", "Job", true),
  project: (raw) => ({ ...metaOf(raw), spec: specOf(raw, "template"), status: statusOf(raw) }),
};
export const configCommits: ResourceType<ConfigCommit> = {
  ...ofRota("configcommits", "ConfigCommit", true),
  project: (raw) => ({
    ...metaOf(raw),
    spec: specOf(raw, "content", "message"),
    status: statusOf(raw),
  }),
};
export const priorityClasses: ResourceType<PriorityClass> = {
  group: "scheduling.k8s.io",
  version: "v1",
  plural: "priorityclasses",
  kind: "PriorityClass",
  namespaced: false,
  project: (raw) => ({
    ...metaOf(raw),
    value: Number(raw["value"] ?? 0),
    preemptionPolicy: raw["preemptionPolicy"] === "Never" ? "Never" : "PreemptLowerPriority",
    globalDefault: raw["globalDefault"] === true,
  }),
};

const isTrue = (conditions: unknown, type: string): boolean =>
  Array.isArray(conditions) &&
  conditions.map(fieldsOf).some((entry) => entry["type"] === type && entry["status"] === "True");

function capacityOf(allocatable: unknown, gpuResource: string): NodeCapacity {
  const amounts = fieldsOf(allocatable);
  const text = (name: string) => textOf(amounts[name]) || "0";
  const named = Object.keys(amounts)
    .filter((name) => isOtherResource(name, gpuResource))
    .map((name) => [name, parseOther(name, text(name))] as const)
    .filter(([, amount]) => amount > 0);
  return {
    gpus: parseCount(text(gpuResource)),
    cpuMillis: parseCpuMillis(text("cpu")),
    memoryBytes: parseBytes(text("memory")),
    pods: parseCount(text("pods")),
    ...(named.length > 0 && { byName: Object.fromEntries(named) }),
  };
}

/** Of other resources, kubelets keep some of the capacity for themselves. */
const unhealthyOf = ({ byName = {} }: NodeCapacity, allocatable: NodeCapacity) =>
  Object.entries(byName)
    .filter(([name]) => isDevice(name))
    .map(([name, amount]) => [name, amount - (allocatable.byName?.[name] ?? 0)] as const)
    .filter(([, amount]) => amount > 0);

/** Throws RangeError for a malformed quantity, so that the informer leaves the node out. */
export const nodesOf = (gpuResource: string): ResourceType<ClusterNode> => ({
  group: "",
  version: "v1",
  plural: "nodes",
  kind: "Node",
  namespaced: false,
  project: (raw) => {
    const spec = fieldsOf(raw["spec"]);
    const status = fieldsOf(raw["status"]);
    const nodeLabels = raw.metadata.labels ?? {};
    const ready = isTrue(status["conditions"], "Ready");
    const allocatable = capacityOf(status["allocatable"], gpuResource);
    const capacity = capacityOf(status["capacity"], gpuResource);
    const unhealthy = unhealthyOf(capacity, allocatable);
    return {
      ...metaOf(raw),
      pool: nodeLabels[labels.pool] || defaultPool,
      ready,
      schedulable: spec["unschedulable"] !== true && ready,
      labels: nodeLabels,
      taints: (spec["taints"] ?? []) as ClusterNode["taints"],
      allocatable,
      unhealthyGpus: Math.max(0, capacity.gpus - allocatable.gpus),
      ...(unhealthy.length > 0 && { unhealthyByName: Object.fromEntries(unhealthy) }),
    };
  },
});

interface RawContainerStatus {
  readonly name?: string;
  readonly allocatedResources?: Readonly<Record<string, string>>;
  readonly resources?: { readonly requests?: Readonly<Record<string, string>> };
}

type DemandingContainers = NonNullable<DemandingPodSpec["containers"]>;

/** The containers with the resources granted by their statuses, which differ during an in-place resize. */
function withGranted(containers: unknown, statuses: unknown): DemandingContainers {
  const all = (containers ?? []) as (DemandingContainers[number] & { readonly name?: string })[];
  const byName = new Map(
    ((statuses ?? []) as RawContainerStatus[]).map((entry) => [entry.name, entry]),
  );
  return all.map((container) => {
    const { allocatedResources, resources } = byName.get(container.name) ?? {};
    return { ...container, granted: [allocatedResources ?? {}, resources?.requests ?? {}] };
  });
}

function effectiveDemand(raw: KubeObject, gpuResource: string): PodDemand {
  const spec = fieldsOf(raw["spec"]);
  const status = fieldsOf(raw["status"]);
  const requested = podDemand(
    {
      ...spec,
      containers: withGranted(spec["containers"], status["containerStatuses"]),
      initContainers: withGranted(spec["initContainers"], status["initContainerStatuses"]),
    },
    gpuResource,
  );
  return withExclusives(requested, spec, raw.metadata.namespace ?? "");
}

type Membership = Pick<Pod, "jobKey" | "jobUid" | "attempt" | "index" | "nodeUid">;

const noMembership: Membership = { jobKey: "", jobUid: "", attempt: 0, index: 0, nodeUid: "" };

/** The number in a label of Rota's; undefined if an integer column could not hold it. */
const ordinalOf = (label: string | undefined): number | undefined =>
  label !== undefined && /^\d{1,9}$/.test(label) ? Number(label) : undefined;

/**
 * The job that a pod belongs to, and its place in it. Labels, controller and name must agree, so that a label alone cannot hide a pod's
 * usage of its node.
 */
function membershipOf(raw: KubeObject): Membership {
  const { name, namespace = "", labels: marks = {}, annotations: notes = {} } = raw.metadata;
  const job = marks[labels.job];
  const controller = controllerOf(raw);
  if (job === undefined || controller?.kind !== "Job") return noMembership;
  if (controller.apiVersion !== apiVersion || controller.uid !== marks[labels.jobUid]) {
    return noMembership;
  }
  const attempt = ordinalOf(marks[labels.attempt]);
  const index = ordinalOf(marks[labels.index]);
  if (attempt === undefined || index === undefined) return noMembership;
  if (name !== podName(job, attempt, index)) return noMembership;
  const jobKey = `${namespace}/${job}`;
  const nodeUid = notes[annotations.nodeUid] ?? "";
  return { jobKey, jobUid: controller.uid, attempt, index, nodeUid };
}

const defaultGraceSeconds = 30;

/** That of its deletion, which may be shorter, once it has begun. */
function graceSecondsOf({ metadata, spec }: KubeObject): number {
  const own = fieldsOf(spec)["terminationGracePeriodSeconds"];
  return (
    metadata.deletionGracePeriodSeconds ?? (typeof own === "number" ? own : defaultGraceSeconds)
  );
}

/** A pod with a malformed quantity counts as using its whole node (`substitute`). */
export const podsOf = (gpuResource: string): ResourceType<Pod> => ({
  group: "",
  version: "v1",
  plural: "pods",
  kind: "Pod",
  namespaced: true,
  project: (raw) => {
    const meta = metaOf(raw);
    const spec = fieldsOf(raw["spec"]);
    const status = fieldsOf(raw["status"]);
    return {
      ...meta,
      ...membershipOf(raw),
      graceSeconds: graceSecondsOf(raw),
      leavesAt: raw.metadata.deletionTimestamp ?? "",
      nodeName: textOf(spec["nodeName"]),
      phase: textOf(status["phase"]) || "Pending",
      ready: isTrue(status["conditions"], "Ready"),
      obstacle: obstacleOf(status, spec),
      startPhase: startPhaseOf(status, spec),
      failure: failureOf(status),
      rejected: isRejected(status),
      disruption: disruptionOf(status),
      demand: effectiveDemand(raw, gpuResource),
    };
  },
  substitute: substitutePod,
});

/** A pod that cannot be projected may use its whole node. Without a node it uses nothing yet. */
function substitutePod(raw: KubeObject): Pod | undefined {
  const nodeName = textOf(fieldsOf(raw["spec"])["nodeName"]);
  if (nodeName === "") return undefined;
  return {
    ...metaOf(raw),
    ...membershipOf(raw),
    graceSeconds: graceSecondsOf(raw),
    leavesAt: raw.metadata.deletionTimestamp ?? "",
    nodeName,
    phase: textOf(fieldsOf(raw["status"])["phase"]) || "Pending",
    ready: false,
    obstacle: "",
    startPhase: "Other",
    failure: "",
    rejected: false,
    disruption: "",
    demand: { gpus: maxAmount, cpuMillis: maxAmount, memoryBytes: maxAmount },
  };
}

/** None of its containers runs any more. */
export const hasEnded = (pod: Pod): boolean => pod.phase === "Succeeded" || pod.phase === "Failed";

/**
 * Whether the pod has finished its work. A pod that ends after it was asked to terminate has not, whatever its exit
 * code: a job that saves its state on SIGTERM exits with 0. In doubt it runs again. Timestamps are not compared, since
 * they are from two clocks.
 */
export const hasFinished = (pod: Pod): boolean => pod.phase === "Succeeded" && !pod.deleting;

const core = (plural: string, kind: string, namespaced: boolean): ResourceName => ({
  group: "",
  version: "v1",
  plural,
  kind,
  namespaced,
});
export const namespaces = core("namespaces", "Namespace", false);
/** Amounts by name, in thousandths. */
const amountsOf = (raw: unknown): NamespaceQuota["used"] =>
  Object.fromEntries(
    Object.entries(fieldsOf(raw)).map(([name, amount]) => [name, exactMillis(String(amount))]),
  );

/** Scopes without an operator are those that a pod is in. */
function selectorsOf(spec: Readonly<Record<string, unknown>>): readonly ScopeSelector[] {
  const scopes = (spec["scopes"] ?? []) as readonly string[];
  const { matchExpressions } = fieldsOf(spec["scopeSelector"]);
  return [
    ...scopes.map((scopeName) => ({ scopeName, operator: "Exists" })),
    ...((matchExpressions ?? []) as readonly ScopeSelector[]),
  ];
}

export const resourceQuotas: ResourceType<StoredQuota> = {
  ...core("resourcequotas", "ResourceQuota", true),
  project: (raw) => {
    const { hard, used } = fieldsOf(raw["status"]);
    const selectors = selectorsOf(fieldsOf(raw["spec"]));
    return { ...metaOf(raw), hard: amountsOf(hard), used: amountsOf(used), selectors };
  },
};
export const configMaps = core("configmaps", "ConfigMap", true);
export const services = core("services", "Service", true);
export const persistentVolumeClaims = core("persistentvolumeclaims", "PersistentVolumeClaim", true);
export const roleBindings: ResourceName = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "rolebindings",
  kind: "RoleBinding",
  namespaced: true,
};
