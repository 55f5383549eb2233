/**
 * Lists of node selector terms that must all hold, as one list. Each list is an OR of terms and each term an AND of
 * requirements, so the conjunction is the product of the lists.
 */
import type { NodeSelectorRequirement, NodeSelectorTerm } from "./snapshot.ts";

/** Maximum of terms in a product: alternatives multiply quickly, and every pod of a gang carries all of them. */
export const maxTerms = 64;

const matchesNothing = ({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm): boolean =>
  matchExpressions.length + matchFields.length === 0;

const keyOf = ({ key, operator, values = [] }: NodeSelectorRequirement): string =>
  JSON.stringify([key, operator, values]);

function withoutRepeats(
  requirements: readonly NodeSelectorRequirement[],
): NodeSelectorRequirement[] {
  return [...new Map(requirements.map((one) => [keyOf(one), one])).values()];
}

function both(a: NodeSelectorTerm, b: NodeSelectorTerm): NodeSelectorTerm {
  const expressions = withoutRepeats([
    ...(a.matchExpressions ?? []),
    ...(b.matchExpressions ?? []),
  ]);
  const fields = withoutRepeats([...(a.matchFields ?? []), ...(b.matchFields ?? [])]);
  return {
    ...(expressions.length > 0 ? { matchExpressions: expressions } : {}),
    ...(fields.length > 0 ? { matchFields: fields } : {}),
  };
}

function distinct(terms: readonly NodeSelectorTerm[]): NodeSelectorTerm[] {
  const signature = ({ matchExpressions = [], matchFields = [] }: NodeSelectorTerm): string =>
    JSON.stringify([matchExpressions.map(keyOf).sort(), matchFields.map(keyOf).sort()]);
  return [...new Map(terms.map((term) => [signature(term), term])).values()];
}

/**
 * The conjunction of the lists, as one list. An empty term matches no node in Kubernetes, so it is dropped; an empty
 * result matches no node. Undefined if the product has more than `max` terms.
 */
export function allOf(
  lists: readonly (readonly NodeSelectorTerm[])[],
  max = maxTerms,
): readonly NodeSelectorTerm[] | undefined {
  let product: readonly NodeSelectorTerm[] | undefined;
  for (const list of lists) {
    const terms = distinct(list.filter((term) => !matchesNothing(term)));
    product =
      product === undefined
        ? terms
        : distinct(product.flatMap((term) => terms.map((other) => both(term, other))));
    if (product.length > max) return undefined;
  }
  return product ?? [];
}
