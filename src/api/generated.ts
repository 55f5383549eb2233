/** Types of Rota's custom resources. Generated from crds/ by `npm run generate`; do not edit. */
/**
 * The version's content and what is said about it. Immutable.
 */
export interface ConfigCommitSpec {
/**
 * The configuration, any JSON value. kubectl reads YAML 1.1, where y, no, on and off are booleans, so quote what matters.
 */
content: unknown
/**
 * What changed and why.
 */
message?: string
/**
 * Name of the commit that this one follows, in the same namespace.
 */
parent?: string
/**
 * A name for this version, unique in its project.
 */
tag?: string
/**
 * Who made the commit. Stamped from the request where the cluster serves mutating admission policies, otherwise as given.
 */
author?: string
}

/**
 * What the operator last saw and did.
 */
export interface ConfigCommitStatus {
/**
 * The generation of the spec that this status describes.
 */
observedGeneration?: number
/**
 * SHA-256 of the content in canonical form (RFC 8785), in hexadecimal.
 */
hash?: string
/**
 * The first twelve digits of the hash.
 */
shortHash?: string
/**
 * Whether the same content was already stored by another commit.
 */
deduplicated?: boolean
/**
 * Conditions by the conventions of the Kubernetes API.
 */
conditions?: {
/**
 * The condition's name.
 */
type: string
/**
 * Whether the condition holds.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the spec that the condition describes.
 */
observedGeneration?: number
/**
 * When the status last changed.
 */
lastTransitionTime: string
/**
 * A CamelCase word for the cause.
 */
reason: string
/**
 * The cause in a sentence that a person can act on.
 */
message: string
}[]
}

/**
 * What should run. Immutable but for suspend and, while the job is not running, priorityClassName.
 */
export interface JobSpec {
/**
 * Name of a scheduling.k8s.io PriorityClass. The cluster's default class, else priority 0, when absent.
 */
priorityClassName?: string
/**
 * The pool of nodes to run on: the value of their label rota.dev/pool.
 */
pool: string
/**
 * The number of pods. They start together or not at all.
 */
parallelism: number
/**
 * The pods, as a core/v1 PodTemplateSpec. Fields that Rota sets itself are refused, and the rest is checked by a dry run against the API server before the job is queued. restartPolicy is always Never.
 */
template: {
[k: string]: unknown
}
/**
 * The longest that one attempt may run, such as 90m or 2h30m. No limit when absent.
 */
maxRuntime?: string
/**
 * How often the whole gang is started again after a failure. Evictions do not count.
 */
backoffLimit: number
/**
 * Whether the job may run on capacity outside its plans, from where it can be evicted for entitled jobs.
 */
borrowing: ("Allow" | "Never")
/**
 * The Job and its pods are deleted so many seconds after it ended. The operator's setting counts when absent; history stays.
 */
ttlSecondsAfterFinished?: number
/**
 * Holds the job back. A running job is stopped and waits.
 */
suspend: boolean
/**
 * The ConfigCommit whose content is mounted at /etc/rota/config.json. Exactly one of commit and tag.
 */
configRef?: {
/**
 * Name of a ConfigCommit in the job's namespace.
 */
commit?: string
/**
 * Tag of a ConfigCommit in the job's project.
 */
tag?: string
}
/**
 * Storages of the project to mount.
 * 
 * @maxItems 50
 */
storages?: {
/**
 * The storage's name in the project.
 */
name: string
/**
 * Where every container of the pods sees it.
 */
mountPath: string
/**
 * Whether it is mounted for reading only. Default false.
 */
readOnly?: boolean
}[]
}

/**
 * What the operator last saw and did.
 */
export interface JobStatus {
/**
 * The generation of the spec that this status describes.
 */
observedGeneration?: number
/**
 * Where the job is in its life.
 */
state?: ("Rejected" | "Suspended" | "Pending" | "Reserved" | "Starting" | "Running" | "Evicting" | "Evicted" | "Succeeded" | "Failed" | "Cancelled")
/**
 * A CamelCase word for why the job is in this state.
 */
reason?: string
/**
 * Why the job is in this state, with the obstacle and its numbers when it waits.
 */
message?: string
/**
 * Position in the pool's queue, from 1; only while the job waits.
 */
queuePosition?: number
/**
 * The priority of the job's class.
 */
priority?: number
/**
 * GPUs of the whole gang.
 */
gpus?: number
/**
 * Whether the job runs on capacity outside its plans.
 */
borrowing?: boolean
/**
 * How often the gang has been started.
 */
attempt?: number
/**
 * The nodes of the present or last attempt.
 */
nodes?: string[]
/**
 * SHA-256 of the configuration that the run is pinned to.
 */
configHash?: string
/**
 * Pods of the present attempt, by what they do.
 */
pods?: {
/**
 * Pods that exist and have not ended.
 */
active?: number
/**
 * Pods that are ready.
 */
ready?: number
/**
 * Pods that ended well.
 */
succeeded?: number
/**
 * Pods that failed.
 */
failed?: number
}
/**
 * Since when the job queues; kept through evictions.
 */
queuedAt?: string
/**
 * When the present or last attempt started.
 */
startedAt?: string
/**
 * When the job ended.
 */
finishedAt?: string
/**
 * Conditions by the conventions of the Kubernetes API.
 */
conditions?: {
/**
 * The condition's name.
 */
type: string
/**
 * Whether the condition holds.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the spec that the condition describes.
 */
observedGeneration?: number
/**
 * When the status last changed.
 */
lastTransitionTime: string
/**
 * A CamelCase word for the cause.
 */
reason: string
/**
 * The cause in a sentence that a person can act on.
 */
message: string
}[]
}

/**
 * What the project should be.
 */
export interface ProjectSpec {
/**
 * Name of the parent project. Absent for the root of a tree. Changing it moves the project with all its descendants.
 */
parent?: string
/**
 * The user or group the project belongs to, whose plans count for its jobs. Inherited from the nearest ancestor when absent.
 */
owner?: {
/**
 * Whether the owner is a User or a Group, as Kubernetes authentication names them.
 */
kind: ("User" | "Group")
/**
 * The name of the user or group.
 */
name: string
}
/**
 * The project's namespace. Defaults to the project's name. Cannot be changed.
 */
namespace?: string
/**
 * The Pod Security level that the namespace enforces.
 */
podSecurity: ("restricted" | "baseline" | "privileged")
/**
 * Who may do what in this project and in all its descendants.
 * 
 * @maxItems 500
 */
members?: {
/**
 * Whether the member is a User or a Group.
 */
kind: ("User" | "Group")
/**
 * The name of the user or group, as Kubernetes authentication names it.
 */
name: string
/**
 * What the member may do: viewer reads, submitter also submits jobs and commits, admin also manages the project.
 */
role: ("admin" | "submitter" | "viewer")
}[]
/**
 * Names of the priority classes that jobs of this project and its descendants may use. Inherited; when no project on the way to the root names any, all are allowed but Kubernetes' own, whose names begin with system-.
 * 
 * @maxItems 100
 */
priorityClasses?: string[]
/**
 * Whether jobs of this project may use capacity outside their plans. Inherited; Allow when no ancestor says otherwise.
 */
borrowing?: ("Allow" | "Deny")
/**
 * What becomes of the project's PersistentVolumeClaims and their data when the project, or one of its storages, goes. Retain keeps them, and the namespace with them; Delete deletes them.
 */
reclaimPolicy: ("Retain" | "Delete")
/**
 * Storage that jobs of this project can mount by name; one PersistentVolumeClaim each.
 * 
 * @maxItems 50
 */
storages?: {
/**
 * The storage's name, which is also the name of its PersistentVolumeClaim.
 */
name: string
/**
 * The size asked for, as a quantity such as 100Gi.
 */
size: string
/**
 * The storage class. The cluster's default class when absent.
 */
storageClassName?: string
/**
 * How the volume may be mounted. Default ReadWriteMany.
 */
accessMode?: ("ReadWriteOnce" | "ReadOnlyMany" | "ReadWriteMany" | "ReadWriteOncePod")
/**
 * The nodes that can reach the storage. Jobs that mount it run nowhere else.
 */
affinity?: {
/**
 * Alternatives, as in a pod's required node affinity. A node must satisfy one of them.
 * 
 * @minItems 1
 * @maxItems 16
 */
nodeSelectorTerms: {
/**
 * Conditions on the node's labels, all of which must hold.
 * 
 * @minItems 1
 * @maxItems 16
 */
matchExpressions: {
/**
 * The key of a label of nodes.
 */
key: string
/**
 * How the label's value is compared.
 */
operator: ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt")
/**
 * What it is compared with.
 * 
 * @maxItems 64
 */
values?: string[]
}[]
}[]
}
}[]
}

/**
 * What the operator last saw and did.
 */
export interface ProjectStatus {
/**
 * The generation of the spec that this status describes.
 */
observedGeneration?: number
/**
 * The project's path from the root, with dots between names and '-' as '_'.
 */
path?: string
/**
 * The namespace of the project.
 */
namespace?: string
/**
 * The number of child projects.
 */
children?: number
/**
 * The number of members in effect, own and inherited.
 */
members?: number
/**
 * GPUs of running jobs in this project and its descendants.
 */
gpusRunning?: number
/**
 * GPUs of waiting jobs in this project and its descendants.
 */
gpusPending?: number
/**
 * GPUs that plans of the project's owner grant now, over all pools.
 */
gpusPlanned?: number
/**
 * Conditions by the conventions of the Kubernetes API.
 */
conditions?: {
/**
 * The condition's name.
 */
type: string
/**
 * Whether the condition holds.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the spec that the condition describes.
 */
observedGeneration?: number
/**
 * When the status last changed.
 */
lastTransitionTime: string
/**
 * A CamelCase word for the cause.
 */
reason: string
/**
 * The cause in a sentence that a person can act on.
 */
message: string
}[]
}

/**
 * What is granted to whom, and when.
 */
export interface ResourcePlanSpec {
/**
 * The user or group that the plan grants to.
 */
owner: {
/**
 * Whether the owner is a User or a Group.
 */
kind: ("User" | "Group")
/**
 * The name of the user or group.
 */
name: string
}
/**
 * What is granted, GPU or CPU.
 */
resourceType: ("GPU" | "CPU")
/**
 * The pool of nodes: the value of their label rota.dev/pool.
 */
pool: string
/**
 * GPUs or CPU cores, a whole number.
 */
quantity: number
/**
 * When the plan is in force each week, by the wall clock of the installation's time zone. Absent means the whole week.
 * 
 * @minItems 1
 * @maxItems 100
 */
timeWindows?: {
/**
 * The days on which the window starts. Every day when absent.
 * 
 * @minItems 1
 * @maxItems 7
 */
days?: ("Mon" | "Tue" | "Wed" | "Thu" | "Fri" | "Sat" | "Sun")[]
/**
 * Start of the window as HH:MM, from 00:00 to 23:59.
 */
start: string
/**
 * End of the window as HH:MM, up to 24:00. An end at or before the start lies on the next day.
 */
end: string
}[]
/**
 * What happens to running jobs that the plan no longer covers when a window closes: Finish lets them run as borrowers, Evict evicts them after a warning and a grace period.
 */
onWindowClose: ("Finish" | "Evict")
}

/**
 * What the operator last saw and did.
 */
export interface ResourcePlanStatus {
/**
 * The generation of the spec that this status describes.
 */
observedGeneration?: number
/**
 * The generation of the spec that is in force. A refused change leaves the last accepted one in force.
 */
acceptedGeneration?: number
/**
 * The quantity that the plan grants now; 0 outside its windows.
 */
quantityNow?: number
/**
 * When the quantity in effect changes next.
 */
nextChange?: string
/**
 * The quantity in effect from the next change on.
 */
nextQuantity?: number
/**
 * GPUs or cores used now by jobs under this owner in the pool.
 */
used?: number
/**
 * Conditions by the conventions of the Kubernetes API.
 */
conditions?: {
/**
 * The condition's name.
 */
type: string
/**
 * Whether the condition holds.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the spec that the condition describes.
 */
observedGeneration?: number
/**
 * When the status last changed.
 */
lastTransitionTime: string
/**
 * A CamelCase word for the cause.
 */
reason: string
/**
 * The cause in a sentence that a person can act on.
 */
message: string
}[]
}
