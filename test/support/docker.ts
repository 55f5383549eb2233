/** The Docker engine, if one responds, and base images built from files of this machine if none can be pulled. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { promisify } from "node:util";
import { projectRoot } from "../../dev/local/paths.ts";

const run = promisify(execFile);
const maxBuffer = 16 * 1024 * 1024;
const buildTimeoutMs = 600_000;
const answerTimeoutMs = 10_000;
const pullTimeoutMs = 180_000;

export async function docker(...args: readonly string[]): Promise<string> {
  const options = { cwd: projectRoot, timeout: buildTimeoutMs, maxBuffer };
  return (await run("docker", args, options)).stdout.trim();
}

export const dockerAnswers = (): Promise<boolean> =>
  run("docker", ["version", "--format={{.Server.Version}}"], { timeout: answerTimeoutMs }).then(
    () => true,
    () => false,
  );

const canPull = (image: string): Promise<boolean> =>
  run("docker", ["pull", "--quiet", image], { timeout: pullTimeoutMs }).then(
    () => true,
    () => false,
  );

/** Paths of all libraries that the dynamic linker loads for a program. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await run("ldd", [program]);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = ""]) => path);
}

function copyInto(root: string, source: string, target = source): void {
  mkdirSync(dirname(join(root, target)), { recursive: true });
  cpSync(realpathSync(source), join(root, target), { recursive: true });
}

async function copyProgram(root: string, source: string, target: string): Promise<void> {
  copyInto(root, source, target);
  for (const library of await librariesOf(source)) copyInto(root, library);
}

/** @param changes instructions of a Dockerfile */
async function importImage(root: string, name: string, changes: readonly string[]): Promise<void> {
  const tar = spawn("tar", ["--create", "--owner=0", "--group=0", "-C", root, "."], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const loaded = spawn(
    "docker",
    ["import", ...changes.flatMap((change) => ["--change", change]), "-", name],
    {
      stdio: [tar.stdout, "ignore", "inherit"],
    },
  );
  const [status] = await once(loaded, "close");
  if (status !== 0) throw new Error(`docker import of ${name} failed`);
}

/** @param fill puts the files into the folder; returns instructions of a Dockerfile */
async function makeImage(
  name: string,
  fill: (root: string) => Promise<readonly string[]>,
): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), "rota-image-"));
  try {
    mkdirSync(join(root, "tmp"), { mode: 0o1777 });
    const changes = await fill(root);
    await importImage(root, name, changes);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** The folder of the npm in PATH; `npm root --global` would return that of this project's Node.js. */
function npmFolder(): string {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const found = folders.map((folder) => join(folder, "npm")).find((file) => existsSync(file));
  if (found === undefined) throw new Error("there is no npm in PATH");
  return dirname(dirname(realpathSync(found)));
}

async function fillBuilder(root: string): Promise<readonly string[]> {
  await copyProgram(root, process.execPath, "/usr/local/bin/node");
  await copyProgram(root, "/usr/bin/env", "/usr/bin/env");
  copyInto(root, npmFolder(), "/usr/local/lib/node_modules/npm");
  symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(root, "usr/local/bin/npm"));
  // Certificate authorities that this machine trusts in addition, for example those of a proxy that inspects TLS.
  const authorities = process.env["NODE_EXTRA_CA_CERTS"];
  if (authorities === undefined || authorities === "") return [];
  copyInto(root, authorities);
  return [`ENV NODE_EXTRA_CA_CERTS=${authorities}`];
}

async function fillRuntime(root: string): Promise<readonly string[]> {
  await copyProgram(root, process.execPath, "/nodejs/bin/node");
  return [];
}

export interface Bases {
  /** Description for the test's output. */
  readonly origin: string;
  readonly buildArguments: readonly string[];
}

/**
 * The Dockerfile's own bases if they can be pulled, otherwise bases with this machine's Node.js, its libraries and npm.
 */
export async function baseImages(defaults: readonly string[]): Promise<Bases> {
  const pulled = await Promise.all(defaults.map(canPull));
  if (pulled.every(Boolean)) return { origin: "the Dockerfile's own bases", buildArguments: [] };
  await makeImage("rota-test/node:local", fillBuilder);
  await makeImage("rota-test/runtime:local", fillRuntime);
  return {
    origin: "bases made of this machine's files, since the Dockerfile's cannot be pulled",
    buildArguments: [
      "--build-arg=NODE_IMAGE=rota-test/node:local",
      "--build-arg=RUNTIME_IMAGE=rota-test/runtime:local",
    ],
  };
}
