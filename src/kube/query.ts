export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** "?a=b&c=d"; "" if no value is defined. */
export function queryText(query: Query): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? "" : `?${parameters.toString()}`;
}
