/** Conversion of project names to ltree labels. Names are DNS labels without '_', so the mapping is reversible. */

/** The ltree label of a project name. */
export const labelOf = (name: string): string => name.replaceAll("-", "_");
/** The project name of an ltree label. */
export const nameOf = (label: string): string => label.replaceAll("_", "-");
