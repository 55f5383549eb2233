/** What a job's pods find around them: its project's level of security and its storages. Pure. */
import type { PodOrder, StorageMount } from "../../resources/pod-builder.ts";
import type { Job, Project } from "../../resources/types.ts";

/** The storages that the job mounts, with the nodes that reach them as the project has it now. */
function storagesOf(job: Job, project: Project): StorageMount[] {
  const known = new Map((project.spec.storages ?? []).map((storage) => [storage.name, storage]));
  return (job.spec.storages ?? []).map(({ name, mountPath, readOnly = false }) => {
    const nodeTerms = known.get(name)?.affinity?.nodeSelectorTerms;
    return { name, mountPath, readOnly, ...(nodeTerms === undefined ? {} : { nodeTerms }) };
  });
}

/** What the pods of all indices and attempts have in common. */
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
