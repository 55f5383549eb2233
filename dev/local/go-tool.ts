/** A Go program that tests use, built from its module in dev/go-tools and kept for all checkouts. */
import { join } from "node:path";
import { builtOnce, contentKey, readSources } from "./build-cache.ts";
import { goBuild, goVersion } from "./go.ts";
import { cacheFolder, projectRoot } from "./paths.ts";

export interface GoTool {
  /** Name of the folder in dev/go-tools and of the program. */
  readonly name: string;
  /** The main package. */
  readonly mainPackage: string;
  readonly tags?: readonly string[];
  readonly typicalTime: string;
  /** What `go list -deps` counts; only for the progress line. */
  readonly packageCount: number;
}

/** Without the service discoveries of all clouds, which the checking of rules has no use for. */
export const promtool: GoTool = {
  name: "promtool",
  mainPackage: "github.com/prometheus/prometheus/cmd/promtool",
  tags: ["remove_all_sd"],
  typicalTime: "2 to 3 minutes on 2 cores the first time",
  packageCount: 900,
};

export const helm: GoTool = {
  name: "helm",
  mainPackage: "helm.sh/helm/v4/cmd/helm",
  typicalTime: "2 minutes on 2 cores the first time",
  packageCount: 1_000,
};

/** What Flux and Argo CD make of objects: kstatus from its module, and a Lua health check. */
export const kstatus: GoTool = {
  name: "kstatus",
  mainPackage: ".",
  typicalTime: "1 minute on 2 cores the first time",
  packageCount: 280,
};

/** The program's path; it is built when this content of its module was not built yet. */
export async function ensureGoTool(tool: GoTool): Promise<string> {
  const moduleFolder = join(projectRoot, "dev", "go-tools", tool.name);
  const tags = (tool.tags ?? []).join(",");
  const key = contentKey(readSources(moduleFolder), [goVersion(moduleFolder), tags]);
  const folder = join(cacheFolder(), `${tool.name}-${key}`);
  await builtOnce(folder, {
    ...tool,
    build: (temporary, onLine) => {
      const output = join(temporary, tool.name);
      const flags = ["-v", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-tags", tags];
      return goBuild(moduleFolder, [...flags, "-o", output, tool.mainPackage], onLine);
    },
  });
  return join(folder, tool.name);
}
