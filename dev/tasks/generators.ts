/** The list of generators: each returns the files it makes, as the text they should have. */
export interface GeneratedFile {
  /** Path below the project's root. */
  readonly path: string;
  readonly content: string;
}

export type Generator = () => Promise<readonly GeneratedFile[]>;

export const generators: readonly Generator[] = [];
