/**
 * Sentences that name what belongs to a project, a job or a budget. They are made and kept whole; whoever shows one
 * leaves out the names that its readers may not see, and keeps the numbers.
 */

export interface Redactable {
  /** namespace/name, as it stands in the sentence. */
  readonly key: string;
  /** What stands there for those who may not see it. */
  readonly instead: string;
}

export type MaySee = (key: string) => boolean;

export const redactableJob = (key: string): Redactable => ({
  key,
  instead: "a job of another project",
});

export const redactableBudget = (key: string): Redactable => ({
  key,
  instead: "(of another project)",
});

export const namespaceOf = (key: string): string => key.slice(0, key.indexOf("/"));

/** What everybody who may see the job may see as well: roles of one project do not reach into another beside it. */
export const sameProjectAs =
  (key: string): MaySee =>
  (other) =>
    namespaceOf(other) === namespaceOf(key);

/** A name ends where no character of a name follows; a full stop may be the sentence's. */
const whole = (key: string): string => `(?<![\\w./-])${RegExp.escape(key)}(?![\\w/-]|\\.\\w)`;

/** Of a sentence that names jobs alone. */
export const redactJobs = (maySee: MaySee, text: string, keys: readonly string[]): string =>
  redactFor(maySee, text, keys.map(redactableJob));

export function redactFor(
  maySee: MaySee,
  text: string,
  redactables: readonly Redactable[] = [],
): string {
  const hidden = new Map(
    redactables.filter(({ key }) => !maySee(key)).map(({ key, instead }) => [key, instead]),
  );
  if (hidden.size === 0) return text;
  const names = new RegExp([...hidden.keys()].map(whole).join("|"), "g");
  return text.replaceAll(names, (key) => hidden.get(key) ?? "");
}
