/**
 * Redaction of messages that name objects of a project. Messages are stored complete; on display, names that the reader
 * may not see are replaced and numbers are kept.
 */

export interface Redactable {
  /** namespace/name, as in the message. */
  readonly key: string;
  /** Replacement shown to readers who may not see `key`. */
  readonly instead: string;
}

export type MaySee = (key: string) => boolean;

/** A name shown as "a job of another project" to readers who may not see it. */
export const redactableJob = (key: string): Redactable => ({
  key,
  instead: "a job of another project",
});

/** A name shown as "(of another project)" to readers who may not see it. */
export const redactableBudget = (key: string): Redactable => ({
  key,
  instead: "(of another project)",
});

/** The namespace of a namespace/name key. */
export const namespaceOf = (key: string): string => key.slice(0, key.indexOf("/"));

/** For readers of a job: they see other objects of its project, but not those of other projects. */
export const sameProjectAs =
  (key: string): MaySee =>
  (other) =>
    namespaceOf(other) === namespaceOf(key);

/** Matches a whole name; a full stop after it may end the sentence. */
const whole = (key: string): string => `(?<![\\w./-])${RegExp.escape(key)}(?![\\w/-]|\\.\\w)`;

/** For messages that name only jobs. */
export const redactJobs = (maySee: MaySee, text: string, keys: readonly string[]): string =>
  redactFor(maySee, text, keys.map(redactableJob));

/** The text with each hidden name replaced; without `redactables`, unchanged. */
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
