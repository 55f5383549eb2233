/** What a job's pods find around them: its project's level of security and storages, and the Service of its gang. */
import { gangService, labels } from "../../api/names.ts";
import { isAlreadyExists } from "../../kube/errors.ts";
import { gangServiceManifest } from "../../resources/gang-service.ts";
import type { PodOrder, StorageMount } from "../../resources/pod-builder.ts";
import { jobs as jobType, services } from "../../resources/types.ts";
import type { Job, Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { notify } from "../report.ts";

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

/** Services that were there at the time given, in seconds of the monotonic clock, by namespace. */
type SeenServices = Map<string, number>;
const seenServices = new WeakMap<Context, SeenServices>();
/** A Service that somebody deleted comes back with the first gang that starts this much later. */
const serviceRecheckSeconds = 300;

async function serviceIsOurs(
  { kube }: Context,
  namespace: string,
  signal: AbortSignal,
): Promise<boolean> {
  const found = await kube.get(services, `${namespace}/${gangService}`, { signal });
  return found.metadata.labels?.[labels.managedBy] === "rota";
}

/** Makes the Service of the namespace on first need, so that projects without gangs have none. */
export async function ensureGangService(
  context: Context,
  job: Job,
  project: Project,
  signal: AbortSignal,
): Promise<void> {
  if (job.spec.parallelism === 1) return;
  const seen = seenServices.get(context) ?? new Map<string, number>();
  seenServices.set(context, seen);
  const { namespace } = job;
  const now = context.clock.monotonicSeconds();
  const last = seen.get(namespace);
  if (last !== undefined && now - last < serviceRecheckSeconds) return;
  try {
    await context.kube.create(services, gangServiceManifest(namespace, project), { signal });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    if (!(await serviceIsOurs(context, namespace, signal))) {
      notify(context, jobType, job, {
        type: "Warning",
        reason: "GangServiceConflict",
        action: "CreateService",
        note: `Service ${gangService} is somebody else's: the pods of the gang have no host names until it is deleted or renamed`,
      });
      return;
    }
  }
  seen.set(namespace, now);
}
