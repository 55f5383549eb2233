/** Types of Rota's custom resources. Generated from crds/ by `npm run generate`; do not edit. */
/**
 * The content and its metadata. Immutable.
 */
export interface ConfigCommitSpec {
/**
 * The configuration, any JSON value. kubectl reads YAML 1.1, where y, no, on and off are booleans; quote such strings.
 */
content: unknown
/**
 * What changed, and why.
 */
message?: string
/**
 * The name of the previous commit, in the same namespace.
 */
parent?: string
/**
 * A name for this version, unique in the project.
 */
tag?: string
/**
 * The author of the commit. Where the cluster serves mutating admission policies, it is the user of the request, whatever the manifest says.
 */
author?: string
}

/**
 * What the operator last observed. Absent fields do not apply.
 */
export interface ConfigCommitStatus {
/**
 * The generation of the object that this status describes; -1 until the operator has seen the object.
 */
observedGeneration?: number
/**
 * The SHA-256 of the content in canonical form (RFC 8785), in hexadecimal.
 */
hash?: string
/**
 * The first twelve digits of the hash.
 */
shortHash?: string
/**
 * Whether an earlier commit of the same project stored the same content.
 */
deduplicated?: boolean
/**
 * Ready is always present. Reconciling is present while the operator works or waits for another object; Stalled is present until somebody changes what the message names.
 * 
 * Items: One observation about the object.
 */
conditions?: {
/**
 * The name of the condition.
 */
type: string
/**
 * Whether the condition is true.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the object that the condition describes.
 */
observedGeneration?: number
/**
 * When the status of the condition last changed.
 */
lastTransitionTime: string
/**
 * Why the condition has this status, as a CamelCase word. docs/reference/reasons.md lists all.
 */
reason: string
/**
 * Why the condition has this status, with the numbers and the next step.
 */
message: string
}[]
}

/**
 * What to run. Immutable, except suspend and, while the job does not run, priorityClassName.
 */
export interface JobSpec {
/**
 * The name of a scheduling.k8s.io PriorityClass. Defaults to the default class of the cluster; without one, the priority is 0.
 */
priorityClassName?: string
/**
 * The pool of nodes to run on: the value of the node label rota.dev/pool.
 */
pool: string
/**
 * The number of pods in the gang. They start together or not at all.
 */
parallelism: number
/**
 * The pod template, a core/v1 PodTemplateSpec; `kubectl explain pod.spec` lists its fields. Before the job is queued, the API server validates the template in a dry run. Fields that Rota sets, such as nodeName, are rejected. restartPolicy is always Never.
 */
template: {
[k: string]: unknown
}
/**
 * The maximum run time of one attempt, such as 90m or 2h30m. No limit by default.
 */
maxRuntime?: string
/**
 * The number of retries of the whole gang after failures. Evictions do not count.
 */
backoffLimit: number
/**
 * Whether the job may use capacity outside its plans. Jobs within quota can evict it from there.
 */
borrowing: ("Allow" | "Never")
/**
 * Seconds from the end of the job to the deletion of the Job and its pods. Defaults to the setting of the operator. The accounting history stays.
 */
ttlSecondsAfterFinished?: number
/**
 * Whether the job waits outside the queue. Setting it to true stops a running job; setting it to false queues the job again.
 */
suspend: boolean
/**
 * The ConfigCommit to mount at /etc/rota/config.json. Set exactly one of commit and tag.
 */
configRef?: {
/**
 * The name of a ConfigCommit in the namespace of the job.
 */
commit?: string
/**
 * The tag of a ConfigCommit in the project of the job.
 */
tag?: string
}
/**
 * Storages of the project to mount.
 * 
 * @maxItems 50
 * 
 * Items: A storage and its mount path.
 */
storages?: {
/**
 * The name of the storage in the project.
 */
name: string
/**
 * The path at which every container mounts the storage.
 */
mountPath: string
/**
 * Whether the mount is read-only. Defaults to false.
 */
readOnly?: boolean
}[]
}

/**
 * What the operator last observed. Absent fields do not apply.
 */
export interface JobStatus {
/**
 * The generation of the object that this status describes; -1 until the operator has seen the object.
 */
observedGeneration?: number
/**
 * Where the job is in its life.
 */
state?: ("Rejected" | "Suspended" | "Pending" | "Reserved" | "Starting" | "Running" | "Evicting" | "Evicted" | "Succeeded" | "Failed" | "Cancelled")
/**
 * Why the job is in this state, as a CamelCase word. docs/reference/reasons.md lists all.
 */
reason?: string
/**
 * Why the job is in this state, in at most two sentences. The present obstacle comes first.
 */
message?: string
/**
 * The position in the queue of the pool, from 1. Present only while the job waits.
 */
queuePosition?: number
/**
 * The value of the priority class.
 */
priority?: number
/**
 * GPUs of the whole gang.
 */
gpus?: number
/**
 * Whether the job uses capacity outside its plans.
 */
borrowing?: boolean
/**
 * How many times the gang has been started.
 */
attempt?: number
/**
 * The nodes of the current or last attempt.
 * 
 * Items: The name of a node.
 */
nodes?: string[]
/**
 * The nodes of the current or last attempt in one line, such as "node-1, node-2, node-3 and 5 more".
 */
nodeSummary?: string
/**
 * The SHA-256 of the configuration that the job uses.
 */
configHash?: string
/**
 * The number of pods of the current attempt in each phase.
 */
pods?: {
/**
 * Pods that have not finished.
 */
active?: number
/**
 * Pods that are ready.
 */
ready?: number
/**
 * Pods that succeeded.
 */
succeeded?: number
/**
 * Pods that failed.
 */
failed?: number
}
/**
 * When the job joined the queue. Evictions do not change it.
 */
queuedAt?: string
/**
 * When the current or last attempt started.
 */
startedAt?: string
/**
 * When the job finished.
 */
finishedAt?: string
/**
 * Ready is always present; Reconciling and Stalled follow kstatus. Suspended, Admitted, Evicted, Complete, Failed, WindowClosing and PodsStuck are present only while true; Complete and Failed are final.
 * 
 * Items: One observation about the object.
 */
conditions?: {
/**
 * The name of the condition.
 */
type: string
/**
 * Whether the condition is true.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the object that the condition describes.
 */
observedGeneration?: number
/**
 * When the status of the condition last changed.
 */
lastTransitionTime: string
/**
 * Why the condition has this status, as a CamelCase word. docs/reference/reasons.md lists all.
 */
reason: string
/**
 * Why the condition has this status, with the numbers and the next step.
 */
message: string
}[]
}

/**
 * The desired state of the project.
 */
export interface ProjectSpec {
/**
 * The name of the parent project. Absent for the root of a tree. A change moves the project with all its descendants.
 */
parent?: string
/**
 * The user or group that owns the project. The plans of the owner apply to the jobs of the project. Defaults to the owner of the nearest ancestor.
 */
owner?: {
/**
 * User or Group.
 */
kind: ("User" | "Group")
/**
 * The name of the user or group, as Kubernetes authentication reports it.
 */
name: string
}
/**
 * The namespace of the project. Defaults to the name of the project. Immutable.
 */
namespace?: string
/**
 * The Pod Security level that the namespace enforces.
 */
podSecurity: ("restricted" | "baseline" | "privileged")
/**
 * The roles of users and groups in this project and its descendants.
 * 
 * @maxItems 500
 * 
 * Items: A user or group and its role.
 */
members?: {
/**
 * User or Group.
 */
kind: ("User" | "Group")
/**
 * The name of the user or group, as Kubernetes authentication reports it.
 */
name: string
/**
 * viewer: read jobs, commits, pods and logs in the namespace. submitter: also create, change and delete jobs and commits. admin: also manage the ConfigMaps, claims and Secrets of the namespace. The Project itself is changed by administrators of the cluster.
 */
role: ("admin" | "submitter" | "viewer")
}[]
/**
 * The PriorityClasses that jobs of this project and its descendants may use. Defaults to the list of the nearest ancestor; without one, all classes are allowed except those whose names begin with system-.
 * 
 * @maxItems 100
 * 
 * Items: The name of a PriorityClass.
 */
priorityClasses?: string[]
/**
 * Maxima for the jobs of this project and its descendants, below the settings of the operator and the limits of the ancestors. Grace periods are lowered to them at the eviction of jobs that were queued before, too.
 */
limits?: {
/**
 * The maximum of terminationGracePeriodSeconds in templates, a duration such as 90s or 10m.
 */
terminationGracePeriod?: string
}
/**
 * Whether jobs of this project may use capacity outside their plans. Defaults to the value of the nearest ancestor; without one, to Allow.
 */
borrowing?: ("Allow" | "Deny")
/**
 * What happens to PersistentVolumeClaims and their data when the project or one of its storages is deleted. Retain keeps them, and the namespace with them. Delete deletes them.
 */
reclaimPolicy: ("Retain" | "Delete")
/**
 * Storages that jobs of this project can mount by name. Each is one PersistentVolumeClaim.
 * 
 * @maxItems 50
 * 
 * Items: A storage of the project.
 */
storages?: {
/**
 * The name of the storage and of its PersistentVolumeClaim.
 */
name: string
/**
 * The requested size, a quantity such as 100Gi. It may grow.
 */
size: string
/**
 * The name of the StorageClass. Defaults to the default class of the cluster.
 */
storageClassName?: string
/**
 * The access mode of the PersistentVolumeClaim. Defaults to ReadWriteMany.
 */
accessMode?: ("ReadWriteOnce" | "ReadOnlyMany" | "ReadWriteMany" | "ReadWriteOncePod")
/**
 * The nodes that can reach the storage. Jobs that mount it run on these nodes only.
 */
affinity?: {
/**
 * Terms as in the required node affinity of a pod. A node must match one of them.
 * 
 * @minItems 1
 * @maxItems 16
 * 
 * Items: Requirements that a node must meet together.
 */
nodeSelectorTerms: {
/**
 * Requirements on the labels of the node. A node must meet all of them.
 * 
 * @minItems 1
 * @maxItems 16
 * 
 * Items: A requirement on one label.
 */
matchExpressions: {
/**
 * The key of the label.
 */
key: string
/**
 * The relation of the value of the label to the values.
 */
operator: ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt")
/**
 * The values for the operators In, NotIn, Gt and Lt.
 * 
 * @maxItems 64
 * 
 * Items: A value of the label.
 */
values?: string[]
}[]
}[]
}
}[]
}

/**
 * What the operator last observed. Absent fields do not apply.
 */
export interface ProjectStatus {
/**
 * The generation of the object that this status describes; -1 until the operator has seen the object.
 */
observedGeneration?: number
/**
 * The path of the project from the root, with dots between the names and '_' for '-'.
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
 * The number of members, own and inherited.
 */
members?: number
/**
 * The GPUs of running jobs in this project and its descendants.
 */
gpusRunning?: number
/**
 * The GPUs of waiting jobs in this project and its descendants.
 */
gpusPending?: number
/**
 * The GPUs that the plans of the owner grant now, in all pools.
 */
gpusPlanned?: number
/**
 * Ready is always present. Reconciling is present while the operator works or waits for another object; Stalled is present until somebody changes what the message names.
 * 
 * Items: One observation about the object.
 */
conditions?: {
/**
 * The name of the condition.
 */
type: string
/**
 * Whether the condition is true.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the object that the condition describes.
 */
observedGeneration?: number
/**
 * When the status of the condition last changed.
 */
lastTransitionTime: string
/**
 * Why the condition has this status, as a CamelCase word. docs/reference/reasons.md lists all.
 */
reason: string
/**
 * Why the condition has this status, with the numbers and the next step.
 */
message: string
}[]
}

/**
 * What the plan grants, to whom, and when.
 */
export interface ResourcePlanSpec {
/**
 * The user or group that receives the grant.
 */
owner: {
/**
 * User or Group.
 */
kind: ("User" | "Group")
/**
 * The name of the user or group, as Kubernetes authentication reports it.
 */
name: string
}
/**
 * The resource that the plan grants: GPU, CPU, memory, or the name of an extended resource such as nvidia.com/mig-1g.5gb.
 */
resourceType: string
/**
 * The pool of nodes: the value of the node label rota.dev/pool.
 */
pool: string
/**
 * The number of GPUs, CPU cores, GiB of memory, or units of the extended resource.
 */
quantity: number
/**
 * When the plan is in force each week, in the time zone of the installation. Defaults to the whole week.
 * 
 * @minItems 1
 * @maxItems 100
 * 
 * Items: A window that recurs on the given days.
 */
timeWindows?: {
/**
 * The days on which the window starts. Defaults to every day.
 * 
 * @minItems 1
 * @maxItems 7
 * 
 * Items: A day of the week.
 */
days?: ("Mon" | "Tue" | "Wed" | "Thu" | "Fri" | "Sat" | "Sun")[]
/**
 * The start of the window as HH:MM, from 00:00 to 23:59.
 */
start: string
/**
 * The end of the window as HH:MM, up to 24:00. An end at or before the start is on the next day.
 */
end: string
}[]
/**
 * What happens to running jobs over quota when a window closes. Finish: they run on as borrowers. Evict: they are evicted after a warning and a grace period.
 */
onWindowClose: ("Finish" | "Evict")
}

/**
 * What the operator last observed. Absent fields do not apply.
 */
export interface ResourcePlanStatus {
/**
 * The generation of the object that this status describes; -1 until the operator has seen the object.
 */
observedGeneration?: number
/**
 * The generation of the spec that is in force. After a rejected change, the last accepted spec stays in force.
 */
acceptedGeneration?: number
/**
 * The quantity that the plan grants now. 0 outside its windows.
 */
quantityNow?: number
/**
 * When the quantity changes next.
 */
nextChange?: string
/**
 * The quantity from the next change on.
 */
nextQuantity?: number
/**
 * What jobs of this owner use now in the pool, in units of the quantity.
 */
used?: number
/**
 * Ready is always present. Reconciling is present while the operator works or waits for another object; Stalled is present until somebody changes what the message names.
 * 
 * Items: One observation about the object.
 */
conditions?: {
/**
 * The name of the condition.
 */
type: string
/**
 * Whether the condition is true.
 */
status: ("True" | "False" | "Unknown")
/**
 * The generation of the object that the condition describes.
 */
observedGeneration?: number
/**
 * When the status of the condition last changed.
 */
lastTransitionTime: string
/**
 * Why the condition has this status, as a CamelCase word. docs/reference/reasons.md lists all.
 */
reason: string
/**
 * Why the condition has this status, with the numbers and the next step.
 */
message: string
}[]
}
