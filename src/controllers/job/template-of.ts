import { fieldsOf } from "../../resources/meta.ts";
import { jobs as jobType } from "../../resources/types.ts";
import type { Job } from "../../resources/types.ts";
import type { Context } from "../context.ts";

/** The job's PodTemplateSpec as the API server has it; caches hold jobs without it. */
export const templateOf = (context: Context, job: Job, signal: AbortSignal): Promise<unknown> =>
  context.templates.of(job.uid, async () => {
    const raw = await context.kube.get(jobType, `${job.namespace}/${job.name}`, { signal });
    return fieldsOf(raw["spec"])["template"];
  });
