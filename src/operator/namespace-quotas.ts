/** ResourceQuotas and pods for decisions, from the caches of the informers. */
import { indices } from "../controllers/context.ts";
import type { Informers } from "../controllers/context.ts";
import { hasEnded } from "../resources/types.ts";
import type { NamespaceQuotaSource } from "../scheduler/namespace-quotas.ts";

export const namespaceQuotasOf = ({
  pods,
  resourceQuotas,
}: Pick<Informers, "pods" | "resourceQuotas">): NamespaceQuotaSource => ({
  quotasOf: (namespace) => resourceQuotas.store.byIndex(indices.quotasByNamespace, namespace),
  podsOf: ({ id, namespace, name, attempt }) => {
    const own = pods.store
      .byIndex(indices.podsByJob, `${namespace}/${name}`)
      .filter(({ jobUid }) => jobUid === id);
    return {
      made: own.filter((pod) => pod.attempt === attempt).length,
      counted: own.filter((pod) => !pod.deleting && !hasEnded(pod)).length,
      existing: own.length,
    };
  },
});
