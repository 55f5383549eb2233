/** Names that Rota puts on objects of the cluster. */
export const group = "rota.dev";
export const version = "v1alpha1";
export const apiVersion = `${group}/${version}`;

/** Field manager of everything that Rota applies. */
export const fieldManager = "rota";

export const labels = {
  /** On nodes: the pool they belong to. */
  pool: "rota.dev/pool",
  /** On namespaces and what is in them: the project. */
  project: "rota.dev/project",
  /** On pods: the job, its uid, the attempt and the pod's index in the gang. */
  job: "rota.dev/job",
  jobUid: "rota.dev/job-uid",
  attempt: "rota.dev/attempt",
  index: "rota.dev/index",
  /** On pods of gangs of more than one: the Service that gives them host names. */
  gang: "rota.dev/gang",
  managedBy: "app.kubernetes.io/managed-by",
} as const;

export const annotations = {
  /** On namespaces: the project that may take it over, though it was not made for it. */
  adopt: "rota.dev/adopt",
  /** On namespaces: the uid of the Project it belongs to; tells whose it is when someone takes the labels away. */
  projectUid: "rota.dev/project-uid",
  /** On namespaces: "true" when Rota made it, so that it may go with its project. Written at its creation or never. */
  made: "rota.dev/made",
  /** On adopted namespaces: the labels that adoption replaced, as JSON; they are given back with the namespace. */
  formerLabels: "rota.dev/former-labels",
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

/** Deterministic, so that a pod created twice is the same pod. */
export const podName = (job: string, attempt: number, index: number): string =>
  `${job}-${attempt}-${index}`;

/** Of pods of one index over all attempts, so that ranks keep their address. At most 57 characters of a label's 63. */
export const hostName = (job: string, index: number): string => `${job}-${index}`;

/** The headless Service of a project's namespace, under which the pods of gangs have their host names. */
export const gangService = "rota-gang";

/** Of one pod of a gang, by its host name; the resolver's search path adds the cluster's domain. */
export const gangAddress = (job: string, index: number, namespace: string): string =>
  `${hostName(job, index)}.${gangService}.${namespace}.svc`;

/** Variables that every container of a job's pods finds in its environment. */
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
export const storageVolumeName = (index: number): string => `rota-storage-${index}`;

export const configMapName = (hash: string): string => `rota-config-${hash.slice(0, 40)}`;

export const configMountPath = "/etc/rota";
export const configFileName = "config.json";
