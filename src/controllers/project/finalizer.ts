/** The finalizer that keeps a Project until what it has in cluster and database is gone. */
import { projects } from "../../resources/types.ts";
import type { Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";

export const projectFinalizer = "rota.dev/project";

export const hasFinalizer = ({ finalizers }: Project): boolean =>
  finalizers.includes(projectFinalizer);

/** Whether the object stays when ours is gone. */
export const hasOtherFinalizers = ({ finalizers }: Project): boolean =>
  finalizers.some((name) => name !== projectFinalizer);

/** The version is a precondition: finalizers of others that came or went meanwhile are not lost. */
async function write(
  { kube }: Context,
  { name, uid, resourceVersion }: Project,
  finalizers: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await kube.patch(projects, name, { metadata: { uid, resourceVersion, finalizers } }, { signal });
}

export const addFinalizer = (
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> => write(context, project, [...project.finalizers, projectFinalizer], signal);

export const removeFinalizer = (
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> =>
  write(
    context,
    project,
    project.finalizers.filter((name) => name !== projectFinalizer),
    signal,
  );
