/** A cluster without ResourceQuotas. */
import type { NamespaceQuotaSource } from "../../src/scheduler/namespace-quotas.ts";

export const noNamespaceQuotas: NamespaceQuotaSource = {
  quotasOf: () => [],
  podsOf: () => ({ made: 0, counted: 0, existing: 0 }),
};
