import { fieldsOf } from "../../resources/meta.ts";
import { jobs as jobType } from "../../resources/types.ts";
import type { JobCall } from "./context.ts";

/** The job's PodTemplateSpec from the API server; the cache keeps jobs without it. */
export const templateOf = ({ context, key, uid, signal }: JobCall): Promise<unknown> =>
  context.templates.of(uid, async () => {
    const raw = await context.kube.get(jobType, key, { signal });
    return fieldsOf(raw["spec"])["template"];
  });
