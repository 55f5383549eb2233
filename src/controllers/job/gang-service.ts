/** The Service that gives the pods of gangs their host names: one a namespace. */
import { gangService, labels } from "../../api/names.ts";
import { admissionTimeoutSeconds } from "../../kube/client.ts";
import { isAlreadyExists } from "../../kube/errors.ts";
import { gangServiceManifest } from "../../resources/gang-service.ts";
import { jobs as jobType, services } from "../../resources/types.ts";
import type { Job, Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { notify } from "../report.ts";

/** A Service that somebody deleted comes back with the first gang that starts this much later. */
const recheckSeconds = 300;

export class GangServices {
  readonly #context: Pick<Context, "kube" | "clock" | "events">;
  /** When a Service was last known to be there, in seconds of the monotonic clock, by namespace. */
  readonly #seenSeconds = new Map<string, number>();

  constructor(context: Pick<Context, "kube" | "clock" | "events">) {
    this.#context = context;
  }

  /** Makes the Service of the job's namespace on first need, so that projects without gangs have none. */
  async ensure(job: Job, project: Project, signal: AbortSignal): Promise<void> {
    if (job.spec.parallelism === 1) return;
    const { namespace } = job;
    const now = this.#context.clock.monotonicSeconds();
    const last = this.#seenSeconds.get(namespace);
    if (last !== undefined && now - last < recheckSeconds) return;
    if (await this.#create(namespace, project, signal)) this.#seenSeconds.set(namespace, now);
    else
      notify(this.#context, jobType, job, {
        type: "Warning",
        reason: "GangServiceConflict",
        action: "CreateService",
        note: `Service ${gangService} was not created by Rota: the pods of the gang have no host names until it is deleted or renamed`,
      });
  }

  /** False when the Service that is there is not Rota's. */
  async #create(namespace: string, project: Project, signal: AbortSignal): Promise<boolean> {
    const { kube } = this.#context;
    try {
      await kube.create(services, gangServiceManifest(namespace, project), {
        signal,
        timeoutSeconds: admissionTimeoutSeconds,
      });
      return true;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const found = await kube.get(services, `${namespace}/${gangService}`, { signal });
    return found.metadata.labels?.[labels.managedBy] === "rota";
  }
}
