/** Builds the control plane's binary once for each content of dev/cluster, and keeps it for all checkouts. */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { formatElapsed } from "./duration.ts";
import { goBuild, goVersion } from "./go.ts";
import { withLock } from "./lock.ts";
import { cacheFolder, projectRoot } from "./paths.ts";
import { startProgress, type Progress } from "./progress.ts";

const moduleFolder = join(projectRoot, "dev", "cluster");
const binaryName = "control-plane";

/** The names the binary answers to; see dev/cluster/main.go. */
const parts = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubectl",
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
  const key = contentKey(readSources(), [goVersion(moduleFolder), ...flags]);
  const folder = join(cacheFolder(), `control-plane-${key}`);
  if (!existsSync(folder)) await buildOnce(folder, flags);
  return toolchainIn(folder);
}

const toolchainIn = (folder: string): Toolchain => ({
  etcd: join(folder, "etcd"),
  "kube-apiserver": join(folder, "kube-apiserver"),
  "kube-controller-manager": join(folder, "kube-controller-manager"),
  "kube-scheduler": join(folder, "kube-scheduler"),
  kubectl: join(folder, "kubectl"),
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

/** A short hash of the sources and of what else the binary depends on. */
export function contentKey(
  sources: Readonly<Record<string, string>>,
  settings: readonly string[],
): string {
  const ordered = Object.entries(sources).sort(([a], [b]) => (a < b ? -1 : 1));
  const platform = [process.platform, process.arch];
  return createHash("sha256")
    .update(JSON.stringify([ordered, settings, platform]))
    .digest("hex")
    .slice(0, 16);
}

function readSources(): Record<string, string> {
  const names = readdirSync(moduleFolder).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name));
  return Object.fromEntries(
    names.map((name) => [name, readFileSync(join(moduleFolder, name), "utf8")]),
  );
}

async function buildOnce(folder: string, flags: readonly string[]): Promise<void> {
  let waiting: Progress | undefined;
  const onWait = (pid: number): void => {
    waiting ??= startProgress(`Waiting for process ${pid}, which builds the local control plane`);
  };
  const build = async (): Promise<void> => {
    waiting?.end();
    if (!existsSync(folder)) await buildInto(folder, flags);
  };
  await withLock(`${folder}.lock`, build, { onWait });
}

/** Built beside its place and renamed, so that a folder that is there is complete. */
async function buildInto(folder: string, flags: readonly string[]): Promise<void> {
  const temporary = `${folder}.building`;
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  const progress = startProgress(`Building the local control plane (${typicalTime})`);
  const started = performance.now();
  try {
    const binary = join(temporary, binaryName);
    const args = ["-v", "-trimpath", "-buildvcs=false", "-ldflags", flags.join(" "), "-o", binary];
    await goBuild(moduleFolder, [...args, "."], describeLines(progress));
  } finally {
    progress.end();
  }
  for (const part of parts) symlinkSync(binaryName, join(temporary, part));
  renameSync(temporary, folder);
  const elapsed = formatElapsed(performance.now() - started);
  process.stderr.write(`Built the local control plane in ${elapsed}; kept in ${folder}\n`);
}

function describeLines(progress: Progress): (line: string) => void {
  let compiled = 0;
  return (line) => {
    if (line.startsWith("go: ")) return progress.update(line.slice("go: ".length));
    compiled += 1;
    progress.update(`${compiled} of about ${packageCount} packages, now ${line}`);
  };
}
