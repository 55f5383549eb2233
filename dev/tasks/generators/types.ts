/** What a generator of files returns. */
export interface GeneratedFile {
  /** Path below the project's root. */
  readonly path: string;
  readonly content: string;
}

export type Generator = () => Promise<readonly GeneratedFile[]>;
