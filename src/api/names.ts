/** Names that Rota gives to objects of the cluster. */
export const group = "rota.dev";
export const version = "v1alpha1";
export const apiVersion = `${group}/${version}`;

/** Field manager of all of Rota's writes. */
export const fieldManager = "rota";

export const labels = {
  /** On nodes: their pool. */
  pool: "rota.dev/pool",
  /** On namespaces and the objects in them: the project. */
  project: "rota.dev/project",
  /** On pods: the job, its uid, the attempt and the pod's index in the gang. */
  job: "rota.dev/job",
  jobUid: "rota.dev/job-uid",
  attempt: "rota.dev/attempt",
  index: "rota.dev/index",
  /** On pods of gangs of more than one pod: the Service that gives them host names. */
  gang: "rota.dev/gang",
  managedBy: "app.kubernetes.io/managed-by",
} as const;

export const annotations = {
  /** On namespaces: the project that may adopt a namespace that it did not create. */
  adopt: "rota.dev/adopt",
  /** On namespaces: the uid of the Project that owns it; identifies the owner even if a user removes the labels. */
  projectUid: "rota.dev/project-uid",
  /** On namespaces: "true" when Rota made it, so that it may go with its project. Written at its creation or never. */
  made: "rota.dev/made",
  /** On adopted namespaces: the labels that adoption replaced, as JSON; they are given back with the namespace. */
  formerLabels: "rota.dev/former-labels",
  /** On pods: the uid of the Node that they were made for. */
  nodeUid: "rota.dev/node-uid",
} as const;

/** The marker: the ClusterRole without rules that says which installation is the cluster's. */
export const markerName = "rota-installation";

/** On the marker. */
export const markerAnnotations = {
  /** The id of the database. */
  database: "rota.dev/database",
  /** NAMESPACE/NAME of the Lease that its operators hold. */
  lease: "rota.dev/lease",
  /** Written by an administrator: the id of the database that this cluster is to have. */
  accept: "rota.dev/accept-database",
} as const;

export const managedBy = "rota";

export const defaultPool = "default";

/** Deterministic, so that creating a pod twice yields one pod. */
export const podName = (job: string, attempt: number, index: number): string =>
  `${job}-${attempt}-${index}`;

/**
 * Shared by the pods of one index over all attempts, so that ranks keep their address. At most 57 of a label's 63
 * characters.
 */
export const hostName = (job: string, index: number): string => `${job}-${index}`;

/** The headless Service in a project's namespace that gives gang pods their host names. */
export const gangService = "rota-gang";

/** The address of one pod of a gang; the resolver's search path adds the cluster's domain. */
export const gangAddress = (job: string, index: number, namespace: string): string =>
  `${hostName(job, index)}.${gangService}.${namespace}.svc`;

/** Environment variables in every container of a job's pods. */
export const environment = {
  job: "ROTA_JOB_NAME",
  index: "ROTA_JOB_INDEX",
  size: "ROTA_JOB_SIZE",
  attempt: "ROTA_JOB_ATTEMPT",
  leader: "ROTA_JOB_LEADER_ADDRESS",
  configHash: "ROTA_CONFIG_HASH",
} as const;

export const environmentNames: ReadonlySet<string> = new Set(Object.values(environment));

export const configVolumeName = "rota-config";
/** Name of the volume for the storage at this index of the job's storages. */
export const storageVolumeName = (index: number): string => `rota-storage-${index}`;

/** At most 52 characters: the first 40 of the hash identify the content. */
export const configMapName = (hash: string): string => `rota-config-${hash.slice(0, 40)}`;

export const configMountPath = "/etc/rota";
export const configFileName = "config.json";
