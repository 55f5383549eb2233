/** One file of JavaScript from a TypeScript entry point, as everything is shipped: without the code it does not use. */
import { build, type Metafile } from "esbuild";
import { projectRoot } from "./shell.ts";

export interface BundleOptions {
  /** Path of the first file. */
  readonly entry: string;
  /** Path of the file to write. */
  readonly outfile: string;
  /** Writes outfile.map beside it. */
  readonly sourceMap?: boolean;
}

/**
 * CommonJS packages inside the bundle call require for Node's own modules, and postgres-migrations looks below __dirname
 * for its first migration, which is shipped in a folder of its own.
 */
const commonJsNames = `import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const __dirname = import.meta.dirname + "/postgres-migrations";`;

/** What went into it is in the Metafile, with paths below the project's root. */
export async function bundle({ entry, outfile, sourceMap }: BundleOptions): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: [entry],
    outfile,
    absWorkingDir: projectRoot,
    bundle: true,
    platform: "node",
    target: "node26",
    format: "esm",
    banner: { js: commonJsNames },
    sourcemap: sourceMap ? "linked" : false,
    sourcesContent: false,
    metafile: true,
    logLevel: "error",
  });
  return metafile;
}
