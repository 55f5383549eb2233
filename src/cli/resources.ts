/** Rota's custom resources, read with the user's own credentials. */
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
import { group, version } from "../api/names.ts";
import type { KubeClient } from "../kube/client.ts";
import type { KubeObject, ResourceName } from "../kube/resource.ts";

export interface Resource<Spec, Status> {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly generation: number;
    readonly creationTimestamp: string;
  };
  readonly spec: Spec;
  readonly status: Partial<Status>;
}

export type Job = Resource<JobSpec, JobStatus>;
export type Project = Resource<ProjectSpec, ProjectStatus>;
export type Plan = Resource<ResourcePlanSpec, ResourcePlanStatus>;
export type Commit = Resource<ConfigCommitSpec, ConfigCommitStatus>;

const ofRota = (plural: string, kind: string, namespaced: boolean): ResourceName => ({
  group,
  version,
  plural,
  kind,
  namespaced,
});

const jobs = ofRota("jobs", "Job", true);
const projects = ofRota("projects", "Project", false);
const plans = ofRota("resourceplans", "ResourcePlan", false);
const commits = ofRota("configcommits", "ConfigCommit", true);

/** The API server has validated the object against the schema that the types come from. */
const read = <Of extends Resource<unknown, unknown>>({ metadata, spec, status }: KubeObject): Of =>
  ({ metadata: { namespace: "", ...metadata }, spec, status: status ?? {} }) as Of;

const list = async <Of extends Resource<unknown, unknown>>(
  client: KubeClient,
  type: ResourceName,
  namespace?: string,
): Promise<Of[]> =>
  (await client.list(type, namespace === undefined ? {} : { namespace })).map((object) =>
    read<Of>(object),
  );

/** @param namespace absent: all namespaces */
export const listJobs = (client: KubeClient, namespace?: string): Promise<Job[]> =>
  list<Job>(client, jobs, namespace);
/** All projects of the cluster. Throws KubeError, like the functions below. */
export const listProjects = (client: KubeClient): Promise<Project[]> =>
  list<Project>(client, projects);
/** All plans of the cluster. */
export const listPlans = (client: KubeClient): Promise<Plan[]> => list<Plan>(client, plans);
/** All commits of one namespace. */
export const listCommits = (client: KubeClient, namespace: string): Promise<Commit[]> =>
  list<Commit>(client, commits, namespace);
/** @param key namespace/name */
export const getJob = async (client: KubeClient, key: string): Promise<Job> =>
  read<Job>(await client.get(jobs, key));

export interface ShownCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

interface WithConditions {
  readonly status: { readonly conditions?: readonly ShownCondition[] };
}

const conditionOf = ({ status }: WithConditions, type: string): ShownCondition | undefined =>
  status.conditions?.find((condition) => condition.type === type);

/** The condition Ready; undefined before the first status. */
export const readyOf = (object: WithConditions): ShownCondition | undefined =>
  conditionOf(object, "Ready");

/** What stops the object until somebody changes it, or what it waits for; undefined if neither is known. */
export const obstacleOf = (object: WithConditions): ShownCondition | undefined =>
  conditionOf(object, "Stalled") ?? conditionOf(object, "Reconciling");
