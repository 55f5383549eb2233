/** Builds the control plane's binary once for each content of dev/cluster, and keeps it for all checkouts. */
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { builtOnce, contentKey, readSources } from "./build-cache.ts";
import { goBuild, goVersion } from "./go.ts";
import { cacheFolder, projectRoot } from "./paths.ts";

const moduleFolder = join(projectRoot, "dev", "cluster");
const binaryName = "control-plane";

/** The names the binary answers to; see dev/cluster/main.go. */
const parts = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubectl",
  "kubelet",
  "kwok",
  "certs",
] as const;

export type Part = (typeof parts)[number];

/** The path of each part's program. */
export type Toolchain = Readonly<Record<Part, string>>;

const kubernetesVersion = /k8s\.io\/kubernetes v(\d+)\.(\d+)\.(\d+)/;
const typicalTime = "a first build takes 6 to 10 minutes on 2 cores, a later one half a minute";
// What `go list -deps` counts; only for the progress line.
const packageCount = 2_800;

/** Gives the programs, building them when this content of dev/cluster was not built yet. */
export async function ensureToolchain(): Promise<Toolchain> {
  const flags = linkerFlags(readFileSync(join(moduleFolder, "go.mod"), "utf8"));
  const key = contentKey(readSources(moduleFolder), [goVersion(moduleFolder), ...flags]);
  const folder = join(cacheFolder(), `control-plane-${key}`);
  await builtOnce(folder, {
    name: "the local control plane",
    typicalTime,
    packageCount,
    build: (temporary, onLine) => buildInto(temporary, flags, onLine),
  });
  return toolchainIn(folder);
}

const toolchainIn = (folder: string): Toolchain => ({
  etcd: join(folder, "etcd"),
  "kube-apiserver": join(folder, "kube-apiserver"),
  "kube-controller-manager": join(folder, "kube-controller-manager"),
  "kube-scheduler": join(folder, "kube-scheduler"),
  kubectl: join(folder, "kubectl"),
  kubelet: join(folder, "kubelet"),
  kwok: join(folder, "kwok"),
  certs: join(folder, "certs"),
});

/** Clients that parse the server's version (Kueue among them) refuse one without these. */
export function linkerFlags(goMod: string): string[] {
  const match = kubernetesVersion.exec(goMod);
  if (!match) throw new Error("dev/cluster/go.mod requires no k8s.io/kubernetes");
  const [, major, minor, patch] = match;
  const variable = "k8s.io/component-base/version";
  return [
    "-s",
    "-w",
    `-X ${variable}.gitVersion=v${major}.${minor}.${patch}`,
    `-X ${variable}.gitMajor=${major}`,
    `-X ${variable}.gitMinor=${minor}`,
  ];
}

async function buildInto(
  folder: string,
  flags: readonly string[],
  onLine: (line: string) => void,
): Promise<void> {
  const binary = join(folder, binaryName);
  const args = ["-v", "-trimpath", "-buildvcs=false", "-ldflags", flags.join(" "), "-o", binary];
  await goBuild(moduleFolder, [...args, "."], onLine);
  for (const part of parts) symlinkSync(binaryName, join(folder, part));
}
