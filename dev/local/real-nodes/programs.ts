/** The programs and images of real nodes, built from dev/go-tools/node once for each content and kept for all checkouts. */
import { execFile } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { builtOnce, contentKey } from "../build-cache.ts";
import { goBuild, goVersion } from "../go.ts";
import { cacheFolder, projectRoot } from "../paths.ts";
import { findSeccomp } from "./seccomp.ts";

export interface NodePrograms {
  /** Shown in a node at /opt/node. */
  readonly folder: string;
  /** Makes nodes; see dev/go-tools/node/machine. */
  readonly machine: string;
  readonly dns: string;
}

/** Names of the images that every node has. */
export const pauseImage = "rota.test/pause:1";
export const workImage = "rota.test/work:1";

const moduleFolder = join(projectRoot, "dev", "go-tools", "node");
const imageTimeoutMs = 60_000;
const run = promisify(execFile);

const containerdPackage = "github.com/containerd/containerd/v2";
const runcPackage = "github.com/opencontainers/runc";
const cniPackage = "github.com/containernetworking/plugins";

const packages: Readonly<Record<string, readonly string[]>> = {
  bin: [
    `${containerdPackage}/cmd/containerd`,
    `${containerdPackage}/cmd/containerd-shim-runc-v2`,
    `${containerdPackage}/cmd/ctr`,
    "./dns",
    "./gpus",
    "./machine",
  ],
  cni: ["ipam/host-local", "main/bridge", "main/loopback"].map(
    (name) => `${cniPackage}/plugins/${name}`,
  ),
  "image-programs": ["./pause", "./work"],
};

/** Without file systems that need a C library, and without the machine's resolver and accounts. */
const tags = "no_btrfs,no_devmapper,no_zfs,osusergo,netgo";

/** The programs; they are built when this content of the module was not built yet. */
export async function ensureNodePrograms(): Promise<NodePrograms> {
  const key = contentKey(readModule(), [goVersion(moduleFolder), tags]);
  const folder = join(cacheFolder(), `node-${key}`);
  await builtOnce(folder, {
    name: "the programs of real nodes",
    typicalTime: "5 to 8 minutes on 2 cores the first time",
    packageCount: 1_000,
    build: buildInto,
  });
  const bin = join(folder, "bin");
  return { folder, machine: join(bin, "machine"), dns: join(bin, "dns") };
}

function readModule(): Record<string, string> {
  const files = globSync(["go.mod", "go.sum", "**/*.go"], { cwd: moduleFolder });
  return Object.fromEntries(
    files.map((file) => [file, readFileSync(join(moduleFolder, file), "utf8")]),
  );
}

async function buildInto(folder: string, onLine: (line: string) => void): Promise<void> {
  const linker = `-s -w -X ${containerdPackage}/version.Version=${versionOf(containerdPackage)}`;
  const flags = ["-v", "-trimpath", "-buildvcs=false"];
  for (const [name, mains] of Object.entries(packages)) {
    const output = join(folder, name);
    mkdirSync(output);
    const args = [...flags, "-tags", tags, "-ldflags", linker, "-o", output, ...mains];
    await goBuild(moduleFolder, args, onLine);
  }
  await buildRunc(join(folder, "bin", "runc"), flags, onLine);
  await makeImages(folder);
}

/** With C: part of runc runs before Go does, and the kubelet wants seccomp of every pod. */
async function buildRunc(
  output: string,
  flags: readonly string[],
  onLine: (line: string) => void,
): Promise<void> {
  const version = versionOf(runcPackage).slice(1);
  const linker = `-s -w -X main.version=${version} -extldflags -static`;
  const args = ["-tags", "seccomp,osusergo,netgo", "-ldflags", linker, "-o", output, runcPackage];
  const temporary = mkdtempSync(`${output}-`);
  try {
    const env = { ...(await findSeccomp(temporary)), CGO_ENABLED: "1" };
    await goBuild(moduleFolder, [...flags, ...args], onLine, env);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function makeImages(folder: string): Promise<void> {
  const images = join(folder, "images");
  mkdirSync(images);
  const make = (program: string, name: string, user: string): Promise<unknown> => {
    const source = join(folder, "image-programs", program);
    const output = join(images, `${program}.tar`);
    const args = [`-name=${name}`, `-user=${user}`, `-program=${source}`, `-output=${output}`];
    return run(join(folder, "bin", "machine"), ["image", ...args], { timeout: imageTimeoutMs });
  };
  await make("pause", pauseImage, "65535");
  await make("work", workImage, "0");
}

/** The version that go.mod pins. */
function versionOf(module: string): string {
  const text = readFileSync(join(moduleFolder, "go.mod"), "utf8");
  const line = text.split("\n").find((candidate) => candidate.trim().startsWith(`${module} v`));
  const version = line?.trim().split(" ")[1];
  if (version === undefined) throw new Error(`dev/go-tools/node/go.mod requires no ${module}`);
  return version;
}
