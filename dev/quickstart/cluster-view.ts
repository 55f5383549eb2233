/** What the story sees on the API server. It reads with plain lists: nothing here comes from the operator. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import type { KubeClient } from "../../src/kube/client.ts";
import { isNotFound, KubeError } from "../../src/kube/errors.ts";
import type { KubeObject, ResourceName } from "../../src/kube/resource.ts";
import { keyOf } from "../../src/kube/resource.ts";
import {
  configCommits,
  configMaps,
  jobs,
  namespaces,
  nodesOf,
  podsOf,
  priorityClasses,
  projects,
  resourcePlans,
} from "../../src/resources/types.ts";
import type { ClusterNode, Job, Pod, Project, ResourcePlan } from "../../src/resources/types.ts";
import { projectRoot } from "../local/paths.ts";
import { waitFor } from "../local/wait.ts";

const gpuResource = "nvidia.com/gpu";
const podType = podsOf(gpuResource);
const nodeType = nodesOf(gpuResource);

const types: Readonly<Record<string, ResourceName>> = {
  ConfigCommit: configCommits,
  Job: jobs,
  Namespace: namespaces,
  PriorityClass: priorityClasses,
  Project: projects,
  ResourcePlan: resourcePlans,
};

const waitMs = 120_000;

const typeOf = (object: KubeObject): ResourceName => {
  const type = types[object.kind ?? ""];
  if (!type) throw new Error(`the examples hold an unknown kind, ${object.kind ?? "none"}`);
  return type;
};

export class ClusterView {
  readonly client: KubeClient;

  constructor(client: KubeClient) {
    this.client = client;
  }

  /** The objects of one file below examples/. */
  example(file: string): KubeObject[] {
    const text = readFileSync(join(projectRoot, "examples", file), "utf8");
    return loadAll(text) as KubeObject[];
  }

  /**
   * Waits as long as the API server answers 503: where it has just started, or a definition is new, its policies that mutate
   * come to know the kind only after a while ("Resource kind ... not found"). Any other refusal is thrown at once.
   */
  async apply(object: KubeObject): Promise<void> {
    const outcome = await this.until(`the API server to take a ${object.kind}`, () =>
      this.#tryToApply(object),
    );
    if ("refusal" in outcome) throw outcome.refusal;
  }

  async #tryToApply(object: KubeObject): Promise<object | { readonly refusal: unknown }> {
    try {
      return await this.client.apply(typeOf(object), object, { fieldManager: "quickstart" });
    } catch (error) {
      if (error instanceof KubeError && error.status === 503) throw error;
      return { refusal: error };
    }
  }

  /** Deletes the object if it is there, and waits until it is gone. */
  async remove(object: KubeObject): Promise<void> {
    const type = typeOf(object);
    const key = keyOf(object);
    await this.client.delete(type, key).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
    await this.until(`${type.kind} ${key} to be gone`, async () => {
      try {
        await this.client.get(type, key);
        return false;
      } catch (error) {
        return isNotFound(error);
      }
    });
  }

  async nodes(): Promise<ClusterNode[]> {
    return (await this.client.list(nodeType)).map(nodeType.project);
  }

  async projects(): Promise<Project[]> {
    return (await this.client.list(projects)).map(projects.project);
  }

  async plans(): Promise<ResourcePlan[]> {
    return (await this.client.list(resourcePlans)).map(resourcePlans.project);
  }

  async jobs(): Promise<Job[]> {
    return (await this.client.list(jobs)).map(jobs.project);
  }

  async job(key: string): Promise<Job> {
    return jobs.project(await this.client.get(jobs, key));
  }

  /** Waits until the job is as asked; where it never is, the error gives its last state. */
  untilJob(key: string, what: string, is: (found: Job) => boolean): Promise<Job> {
    return this.until(`job ${key} to ${what}`, async () => {
      const found = await this.job(key);
      if (is(found)) return found;
      const { state, reason, attempt, message } = found.status;
      throw new Error(`it is ${[state, reason, attempt, message].join(", ")}`);
    });
  }

  /** Pods of Rota's jobs that have not ended. */
  async pods(): Promise<Pod[]> {
    const all = (await this.client.list(podType)).map(podType.project);
    return all.filter(
      (pod) => pod.jobKey !== "" && pod.phase !== "Succeeded" && pod.phase !== "Failed",
    );
  }

  rawPod(key: string): Promise<KubeObject> {
    return this.client.get(podType, key);
  }

  configMap(key: string): Promise<KubeObject> {
    return this.client.get(configMaps, key);
  }

  until<T>(what: string, probe: () => Promise<T | undefined | false>): Promise<T> {
    return waitFor(probe, { what, timeoutMs: waitMs, intervalMs: 100 });
  }
}

export const readyOf = (object: { readonly status: { conditions?: unknown } }) => {
  const conditions = (object.status.conditions ?? []) as {
    type: string;
    status: string;
    reason: string;
    message: string;
  }[];
  return conditions.find(({ type }) => type === "Ready");
};
