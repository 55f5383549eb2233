/** The environment of a job's pods: Pod Security level, storages, configuration. Pure. */
import type { PodOrder, StorageMount } from "../../resources/pod-builder.ts";
import type { Job, Project } from "../../resources/types.ts";

/** The storages that the job mounts, with the node terms that the project currently sets for them. */
function storagesOf(job: Job, project: Project): StorageMount[] {
  const known = new Map((project.spec.storages ?? []).map((storage) => [storage.name, storage]));
  return (job.spec.storages ?? []).map(({ name, mountPath, readOnly = false }) => {
    const nodeTerms = known.get(name)?.affinity?.nodeSelectorTerms;
    return { name, mountPath, readOnly, ...(nodeTerms === undefined ? {} : { nodeTerms }) };
  });
}

/** The part of a pod's order that is the same for all indices and attempts. */
export const podEnvironmentOf = (
  job: Job,
  project: Project,
  configHash: string | undefined,
): Omit<PodOrder, "attempt" | "index"> => ({
  job,
  project: project.name,
  podSecurity: project.spec.podSecurity,
  parallelism: job.spec.parallelism,
  storages: storagesOf(job, project),
  ...(configHash === undefined ? {} : { configHash }),
});
