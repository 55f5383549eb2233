/** One file of JavaScript from a TypeScript entry point, as everything is shipped: without the code it does not use. */
import { build as runBuild, type Metafile, type Plugin } from "esbuild";
import { projectRoot } from "./shell.ts";

export interface BundleOptions {
  /** Path of the first file. */
  readonly entry: string;
  /** Path of the file to write. */
  readonly outfile: string;
  /** Writes outfile.map beside it. */
  readonly sourceMap?: boolean;
  /** The oldest Node it runs on; default: the project's own. */
  readonly target?: string;
  readonly minify?: boolean;
}

/**
 * CommonJS packages inside the bundle call require for Node's own modules, and postgres-migrations looks below __dirname
 * for its first migration, which is shipped in a folder of its own.
 */
const commonJsNames = `import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const __dirname = import.meta.dirname + "/postgres-migrations";`;

const isClientNode = (path: string): boolean => path.includes("@kubernetes/client-node");

/**
 * client-node's modules only define things, but its package does not say so, and its whole generated API would be kept: a
 * third of the bundle, and 10 MB of memory, for the kubeconfig that is used of it.
 */
const dropUnusedClientNode: Plugin = {
  name: "drop-unused-client-node",
  setup: (build) => {
    build.onResolve({ filter: /./ }, async ({ path, pluginData, importer, resolveDir, kind }) => {
      const isOurs = pluginData !== isClientNode && (isClientNode(path) || isClientNode(importer));
      if (!isOurs) return undefined;
      const found = await build.resolve(path, {
        importer,
        resolveDir,
        kind,
        pluginData: isClientNode,
      });
      return isClientNode(found.path) ? { ...found, sideEffects: false } : found;
    });
  },
};

/** What went into it is in the Metafile, with paths below the project's root. */
export async function bundle({
  entry,
  outfile,
  sourceMap,
  target = "node26",
  minify = false,
}: BundleOptions): Promise<Metafile> {
  const { metafile } = await runBuild({
    entryPoints: [entry],
    outfile,
    absWorkingDir: projectRoot,
    bundle: true,
    platform: "node",
    target,
    minify,
    format: "esm",
    banner: { js: commonJsNames },
    sourcemap: sourceMap ? "linked" : false,
    sourcesContent: false,
    metafile: true,
    plugins: [dropUnusedClientNode],
    logLevel: "error",
  });
  return metafile;
}
