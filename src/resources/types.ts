/** The resources Rota watches, each projected to the fields it needs. */
import { apiVersion, group, labels, podName, version, defaultPool } from "../api/names.ts";
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
import { podDemand } from "../domain/pod-demand.ts";
import type { DemandingPodSpec, PodDemand } from "../domain/pod-demand.ts";
import { maxAmount, parseBytes, parseCount, parseCpuMillis } from "../domain/quantity.ts";
import type { KubeObject, ResourceName, ResourceType } from "../kube/resource.ts";
import { controllerOf, fieldsOf, metaOf, textOf } from "./meta.ts";
import type { Meta } from "./meta.ts";
import { disruptionOf, failureOf, obstacleOf } from "./pod-messages.ts";

export interface Project extends Meta {
  readonly finalizers: readonly string[];
  readonly spec: ProjectSpec;
  readonly status: ProjectStatus;
}
export interface ResourcePlan extends Meta {
  readonly spec: ResourcePlanSpec;
  readonly status: ResourcePlanStatus;
}
/** Without its template, which is read when pods are made. */
export interface Job extends Meta {
  readonly spec: Omit<JobSpec, "template">;
  readonly status: JobStatus;
}
/** Without its content, which is read once. */
export interface ConfigCommit extends Meta {
  readonly spec: Omit<ConfigCommitSpec, "content">;
  readonly status: ConfigCommitStatus;
}
export interface PriorityClass extends Meta {
  readonly value: number;
  readonly preemptionPolicy: "PreemptLowerPriority" | "Never";
  readonly globalDefault: boolean;
}
export interface NodeCapacity extends PodDemand {
  readonly pods: number;
}
export interface ClusterNode extends Meta {
  readonly pool: string;
  /** Its kubelet says that it is, and is heard. */
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
}
export interface Pod extends Meta {
  /** namespace/name of the job whose pod it is; empty for pods that are not Rota's. */
  readonly jobKey: string;
  readonly jobUid: string;
  readonly attempt: number;
  /** In the gang, from 0. */
  readonly index: number;
  readonly nodeName: string;
  /** Seconds that it has to end, once it is asked to leave. */
  readonly graceSeconds: number;
  /** When its grace period ends, since its deletion was asked for; empty before. */
  readonly leavesAt: string;
  readonly phase: string;
  readonly ready: boolean;
  /** Why it does not run yet, as the cluster says; empty otherwise. */
  readonly obstacle: string;
  /** Why it failed, in words; empty otherwise. */
  readonly failure: string;
  /** Why the cluster ended it, in words; empty when it did not. */
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

const specOf = <Spec>(raw: KubeObject, without: string): Spec => {
  const { [without]: _left, ...spec } = fieldsOf(raw["spec"]);
  return spec as Spec;
};
const statusOf = <Status>(raw: KubeObject): Status => fieldsOf(raw["status"]) as Status;

export const projects: ResourceType<Project> = {
  ...ofRota("projects", "Project", false),
  project: (raw) => ({
    ...metaOf(raw),
    finalizers: raw.metadata.finalizers ?? [],
    spec: specOf(raw, ""),
    status: statusOf(raw),
  }),
};
export const resourcePlans: ResourceType<ResourcePlan> = {
  ...ofRota("resourceplans", "ResourcePlan", false),
  project: (raw) => ({ ...metaOf(raw), spec: specOf(raw, ""), status: statusOf(raw) }),
};
export const jobs: ResourceType<Job> = {
  ...ofRota("jobs", "Job", true),
  project: (raw) => ({ ...metaOf(raw), spec: specOf(raw, "template"), status: statusOf(raw) }),
};
export const configCommits: ResourceType<ConfigCommit> = {
  ...ofRota("configcommits", "ConfigCommit", true),
  project: (raw) => ({ ...metaOf(raw), spec: specOf(raw, "content"), status: statusOf(raw) }),
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
  return {
    gpus: parseCount(text(gpuResource)),
    cpuMillis: parseCpuMillis(text("cpu")),
    memoryBytes: parseBytes(text("memory")),
    pods: parseCount(text("pods")),
  };
}

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
    return {
      ...metaOf(raw),
      pool: nodeLabels[labels.pool] || defaultPool,
      ready,
      schedulable: spec["unschedulable"] !== true && ready,
      labels: nodeLabels,
      taints: (spec["taints"] ?? []) as ClusterNode["taints"],
      allocatable: capacityOf(status["allocatable"], gpuResource),
    };
  },
});

interface RawContainerStatus {
  readonly name?: string;
  readonly allocatedResources?: Readonly<Record<string, string>>;
  readonly resources?: { readonly requests?: Readonly<Record<string, string>> };
}

type Fields = Readonly<Record<string, unknown>>;
type DemandingContainers = NonNullable<DemandingPodSpec["containers"]>;

/** The containers with what their statuses say that they hold, which differs while they are resized in place. */
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

const effectiveDemand = (spec: Fields, status: Fields, gpuResource: string): PodDemand =>
  podDemand(
    {
      ...spec,
      containers: withGranted(spec["containers"], status["containerStatuses"]),
      initContainers: withGranted(spec["initContainers"], status["initContainerStatuses"]),
    },
    gpuResource,
  );

type Membership = Pick<Pod, "jobKey" | "jobUid" | "attempt" | "index">;

const noMembership: Membership = { jobKey: "", jobUid: "", attempt: 0, index: 0 };

/** A label's number, as Rota writes it; undefined for one that an integer column would not take. */
const ordinalOf = (label: string | undefined): number | undefined =>
  label !== undefined && /^\d{1,9}$/.test(label) ? Number(label) : undefined;

/**
 * The job that a pod belongs to: its labels, its controller and its name must agree, so that a label alone hides no
 * pod from its node's free capacity.
 */
function membershipOf(raw: KubeObject): Membership {
  const { name, namespace = "", labels: marks = {} } = raw.metadata;
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
  return { jobKey: `${namespace}/${job}`, jobUid: controller.uid, attempt, index };
}

const defaultGraceSeconds = 30;

/** That of its deletion, which may be shorter, once it has begun. */
function graceSecondsOf({ metadata, spec }: KubeObject): number {
  const own = fieldsOf(spec)["terminationGracePeriodSeconds"];
  return metadata.deletionGracePeriodSeconds ?? (typeof own === "number" ? own : defaultGraceSeconds);
}

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
      failure: failureOf(status),
      disruption: disruptionOf(status),
      demand: effectiveDemand(spec, status, gpuResource),
    };
  },
  substitute: substitutePod,
});

/** A pod that is not understood may use its node whole. Without a node it uses nothing yet. */
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
    failure: "",
    disruption: "",
    demand: { gpus: maxAmount, cpuMillis: maxAmount, memoryBytes: maxAmount },
  };
}

/** No container of it runs any more. */
export const hasEnded = (pod: Pod): boolean => pod.phase === "Succeeded" || pod.phase === "Failed";

/**
 * Whether the pod has finished its work. One that ends after it was asked to leave has not, whatever its exit code: a job
 * that saves on SIGTERM exits with 0. In doubt it runs again; no timestamps are compared, which are of two clocks.
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
