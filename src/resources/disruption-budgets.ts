/** PodDisruptionBudgets: which pods they select, and how many disruptions they allow. Pure. */
import { selects } from "../domain/label-selector.ts";
import type { Labels, LabelSelector } from "../domain/label-selector.ts";
import { keyOf } from "../kube/resource.ts";
import type { KubeObject, ResourceType } from "../kube/resource.ts";
import { fieldsOf } from "./meta.ts";

export interface DisruptionBudget {
  /** namespace/name */
  readonly key: string;
  readonly disruptionsAllowed: number;
  /** Undefined selects nothing. */
  readonly selector: LabelSelector | undefined;
}

export const disruptionBudgets: ResourceType<DisruptionBudget> = {
  group: "policy",
  version: "v1",
  plural: "poddisruptionbudgets",
  kind: "PodDisruptionBudget",
  namespaced: true,
  project: (raw: KubeObject) => {
    const { selector } = fieldsOf(raw["spec"]);
    const { disruptionsAllowed } = fieldsOf(raw["status"]);
    return {
      key: keyOf(raw),
      disruptionsAllowed: typeof disruptionsAllowed === "number" ? disruptionsAllowed : 0,
      selector: selector === undefined ? undefined : (selector as LabelSelector),
    };
  },
};

/** How many of these pods each budget selects; budgets that select none are left out. */
export const budgetUses = (budgets: readonly DisruptionBudget[], healthyPods: readonly Labels[]) =>
  budgets
    .map((budget) => ({
      budget: budget.key,
      pods: healthyPods.filter(
        (labels) => budget.selector !== undefined && selects(budget.selector, labels),
      ).length,
      allowed: budget.disruptionsAllowed,
    }))
    .filter(({ pods }) => pods > 0);
