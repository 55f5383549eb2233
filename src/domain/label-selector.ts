/** Label selectors of Kubernetes (metav1.LabelSelector). Pure. */

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** Without requirements it selects everything. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly Requirement[];
}

export type Labels = Readonly<Record<string, string>>;

/** Keys such as "constructor" are labels, too. Undefined: there is no such label. */
export const labelOf = (labels: Labels, key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined;

function meets(labels: Labels, { key, operator, values = [] }: Requirement): boolean {
  const value = labelOf(labels, key);
  if (operator === "In") return value !== undefined && values.includes(value);
  if (operator === "NotIn") return value === undefined || !values.includes(value);
  return (operator === "Exists") === (value !== undefined);
}

/** Whether the selector selects an object with these labels. */
export const selects = (selector: LabelSelector, labels: Labels): boolean =>
  Object.entries(selector.matchLabels ?? {}).every(
    ([key, value]) => labelOf(labels, key) === value,
  ) && (selector.matchExpressions ?? []).every((requirement) => meets(labels, requirement));

/** The labels that it asks for, by their keys. */
export const selectedKeys = (selector: LabelSelector): readonly string[] => [
  ...Object.keys(selector.matchLabels ?? {}),
  ...(selector.matchExpressions ?? []).map(({ key }) => key),
];
