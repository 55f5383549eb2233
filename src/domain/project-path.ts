/** Project names and the ltree labels that stand for them. Names are DNS labels: they have no '_'. */

export const labelOf = (name: string): string => name.replaceAll("-", "_");
export const nameOf = (label: string): string => label.replaceAll("_", "-");

/** Names from the root down, from a path's labels. */
export const namesOf = (labels: readonly string[]): readonly string[] => labels.map(nameOf);
