/** Project names as ltree labels. Names are DNS labels and have no '_', so the mapping is reversible. */

export const labelOf = (name: string): string => name.replaceAll("-", "_");
export const nameOf = (label: string): string => label.replaceAll("_", "-");
