/** The finalizer that keeps a Project until its objects and rows are deleted. */
import { projects } from "../../resources/types.ts";
import type { Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";

export const projectFinalizer = "rota.dev/project";

/** Whether the object has Rota's finalizer. */
export const hasFinalizer = ({ finalizers }: Project): boolean =>
  finalizers.includes(projectFinalizer);

/** Whether the object stays after Rota's finalizer is removed. */
export const hasOtherFinalizers = ({ finalizers }: Project): boolean =>
  finalizers.some((name) => name !== projectFinalizer);

/** Conditional on resourceVersion, so that concurrent changes of other finalizers are not lost. */
async function write(
  { kube }: Context,
  { name, uid, resourceVersion }: Project,
  finalizers: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  await kube.patch(projects, name, { metadata: { uid, resourceVersion, finalizers } }, { signal });
}

/** Throws KubeError with 409 if the project has changed. */
export const addFinalizer = (
  context: Context,
  project: Project,
  signal: AbortSignal,
): Promise<void> => write(context, project, [...project.finalizers, projectFinalizer], signal);

/** Throws KubeError with 409 if the project has changed. */
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
