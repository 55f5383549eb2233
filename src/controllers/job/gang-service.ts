/** The headless Service that gives gang pods their host names: one per namespace. */
import { gangService, labels } from "../../api/names.ts";
import { isAlreadyExists } from "../../kube/errors.ts";
import { gangServiceManifest } from "../../resources/gang-service.ts";
import { jobs as jobType, services } from "../../resources/types.ts";
import type { Job, Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { notify } from "../report.ts";

/** A deleted Service is created again with the first gang that starts after this time. */
const recheckSeconds = 300;

export class GangServices {
  readonly #context: Pick<Context, "kube" | "clock" | "events">;
  /** When the Service of a namespace was last known to exist, in monotonic seconds. */
  readonly #seenSeconds = new Map<string, number>();

  constructor(context: Pick<Context, "kube" | "clock" | "events">) {
    this.#context = context;
  }

  /** Creates the Service of the job's namespace on first use; projects without gangs have none. */
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

  /** False if a Service of this name exists that is not Rota's. */
  async #create(namespace: string, project: Project, signal: AbortSignal): Promise<boolean> {
    const { kube } = this.#context;
    try {
      await kube.create(services, gangServiceManifest(namespace, project), { signal });
      return true;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
    const found = await kube.get(services, `${namespace}/${gangService}`, { signal });
    return found.metadata.labels?.[labels.managedBy] === "rota";
  }
}
