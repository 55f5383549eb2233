/**
 * `npm run release [-- --output=dist/release] [--no-image] [--allow-dirty]`: everything a release consists of, into one folder with
 * checksums. Nothing is pushed and no tag is set; pushing image, chart and package is for a person to do.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ensureGoTool, helm } from "../local/go-tool.ts";
import { ensureToolchain } from "../local/control-plane-build.ts";
import { withoutDevelopment } from "./bill-of-materials.ts";
import { projectRoot, toolPath } from "./shell.ts";

const { values } = parseArgs({
  options: {
    output: { type: "string", default: "dist/release" },
    image: { type: "boolean", default: true },
    "allow-dirty": { type: "boolean", default: false },
  },
  allowNegative: true,
});

const maxBuffer = 64 * 1024 * 1024;
const output = resolve(projectRoot, values.output);
const { version } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
  readonly version: string;
};

class ReleaseError extends Error {}

/** Standard output; the rest is shown. */
function capture(command: string, ...args: readonly string[]): string {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: projectRoot,
    encoding: "utf8",
    maxBuffer,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PATH: toolPath },
  });
  if (error) throw error;
  if (status !== 0)
    throw new ReleaseError(`${command} ${args.join(" ")} ended with status ${status}`);
  return stdout.trim();
}

const task = (name: string, ...args: readonly string[]): string =>
  capture("node", `dev/tasks/${name}.ts`, ...args);

function refuseUnready(): void {
  const isClean = capture("git", "status", "--porcelain") === "";
  if (!isClean && !values["allow-dirty"]) {
    throw new ReleaseError("commit or remove what git status shows first, or give --allow-dirty");
  }
  const changes = readFileSync(join(projectRoot, "CHANGELOG.md"), "utf8");
  if (!changes.includes(`\n## ${version}`)) {
    throw new ReleaseError(`CHANGELOG.md has no heading "## ${version}"`);
  }
  task("licences");
}

/** For `kubectl apply --server-side -f`, without a checkout. */
async function manifests(): Promise<void> {
  const { kubectl } = await ensureToolchain();
  const folders = {
    rota: "manifests",
    "rota-crds": "crds",
    "rota-production": "manifests/overlays/production",
  };
  for (const [name, folder] of Object.entries(folders)) {
    writeFileSync(
      join(output, `${name}-${version}.yaml`),
      `${capture(kubectl, "kustomize", folder)}\n`,
    );
  }
}

async function chart(): Promise<void> {
  capture(await ensureGoTool(helm), "package", "charts/rota", `--destination=${output}`);
}

/** What the image holds, for those who run the operator without one. */
function operator(): void {
  const folder = mkdtempSync(join(tmpdir(), "rota-release-"));
  try {
    task("bundle", `--output=${join(folder, `rota-operator-${version}`)}`);
    const archive = join(output, `rota-operator-${version}.tgz`);
    capture(
      "tar",
      "--create",
      "--gzip",
      `--file=${archive}`,
      "-C",
      folder,
      `rota-operator-${version}`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The kubectl plugin's npm package. */
function plugin(): void {
  task("bundle-cli");
  capture("npm", "pack", "./cli", `--pack-destination=${output}`);
}

function billOfMaterials(): void {
  const bill = capture("npm", "sbom", "--sbom-format=cyclonedx", "--package-lock-only");
  writeFileSync(join(output, `rota-${version}.cdx.json`), withoutDevelopment(bill));
}

const dockerAnswers = (): boolean =>
  spawnSync("docker", ["version"], { stdio: "ignore", timeout: 10_000 }).status === 0;

/** Built with the name that manifests and chart use; pushing it to a registry is for a person to do. */
function image(): void {
  if (!values.image) return;
  if (!dockerAnswers()) {
    console.warn("no image: no Docker engine answers");
    return;
  }
  const revision = capture("git", "rev-parse", "HEAD");
  const labels = [`--build-arg=VERSION=${version}`, `--build-arg=REVISION=${revision}`];
  capture("docker", "build", `--tag=rota:${version}`, ...labels, ".");
  capture(
    "docker",
    "save",
    `--output=${join(output, `rota-image-${version}.tar`)}`,
    `rota:${version}`,
  );
}

/** In the format of sha256sum. */
function checksums(): string[] {
  const files = readdirSync(output).toSorted();
  const lines = files.map((file) => {
    const digest = createHash("sha256")
      .update(readFileSync(join(output, file)))
      .digest("hex");
    return `${digest}  ${file}\n`;
  });
  writeFileSync(join(output, "SHA256SUMS"), lines.join(""));
  return files;
}

try {
  refuseUnready();
  rmSync(output, { recursive: true, force: true });
  mkdirSync(output, { recursive: true });
  await manifests();
  await chart();
  operator();
  plugin();
  billOfMaterials();
  image();
  for (const file of checksums()) console.log(join(output, file));
} catch (error) {
  if (!(error instanceof ReleaseError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
