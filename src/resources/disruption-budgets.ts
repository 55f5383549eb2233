/** PodDisruptionBudgets: which pods they select, and how many disruptions they allow. Pure. */
import { keyOf } from "../kube/resource.ts";
import type { KubeObject, ResourceType } from "../kube/resource.ts";
import { fieldsOf } from "./meta.ts";

export interface DisruptionBudget {
  /** namespace/name */
  readonly key: string;
  readonly disruptionsAllowed: number;
  /** A metav1.LabelSelector; undefined selects nothing, {} everything. */
  readonly selector: Readonly<Record<string, unknown>> | undefined;
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
      selector: selector === undefined ? undefined : fieldsOf(selector),
    };
  },
};

type Labels = Readonly<Record<string, string>>;

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

function meets(labels: Labels, { key, operator, values = [] }: Requirement): boolean {
  const value = labels[key];
  if (operator === "In") return value !== undefined && values.includes(value);
  if (operator === "NotIn") return value === undefined || !values.includes(value);
  return (operator === "Exists") === (value !== undefined);
}

function selects({ selector }: DisruptionBudget, labels: Labels): boolean {
  if (selector === undefined) return false;
  const equal = Object.entries(fieldsOf(selector["matchLabels"]));
  const requirements = (selector["matchExpressions"] ?? []) as readonly Requirement[];
  return (
    equal.every(([key, value]) => labels[key] === value) &&
    requirements.every((requirement) => meets(labels, requirement))
  );
}

/** How many of these pods each budget selects; budgets that select none are left out. */
export const budgetUses = (budgets: readonly DisruptionBudget[], healthyPods: readonly Labels[]) =>
  budgets
    .map((budget) => ({
      budget: budget.key,
      pods: healthyPods.filter((labels) => selects(budget, labels)).length,
      allowed: budget.disruptionsAllowed,
    }))
    .filter(({ pods }) => pods > 0);
