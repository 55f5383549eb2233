/** The release script, without an image: that is test/e2e/image.test.ts. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { loadAll } from "js-yaml";
import { ensureGoTool, helm } from "../../dev/local/go-tool.ts";
import { projectRoot } from "../../dev/local/paths.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { runInProject } from "../support/kubectl.ts";

const run = promisify(execFile);

describe("a release", () => {
  const { version } = JSON.parse(readFileSync(join(projectRoot, "package.json"), "utf8")) as {
    readonly version: string;
  };
  let folder: string;

  const text = (name: string): string => readFileSync(join(folder, name), "utf8");

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-release-test-"));
    const options = [`--output=${folder}`, "--no-image", "--allow-dirty"];
    await runInProject(process.execPath, ["dev/tasks/release.ts", ...options]);
  });

  after(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  it("has everything, with checksums", () => {
    const files = readdirSync(folder).filter((name) => name !== "SHA256SUMS");
    expect(files).to.include.members([
      `kubectl-rota-${version}.tgz`,
      `rota-${version}.cdx.json`,
      `rota-${version}.tgz`,
      `rota-${version}.yaml`,
      `rota-crds-${version}.yaml`,
      `rota-operator-${version}.tgz`,
      `rota-production-${version}.yaml`,
    ]);
    const sums = files.toSorted().map((name) => {
      const digest = createHash("sha256")
        .update(readFileSync(join(folder, name)))
        .digest("hex");
      return `${digest}  ${name}\n`;
    });
    expect(text("SHA256SUMS")).to.equal(sums.join(""));
  });

  it("has the manifests in one file each", () => {
    const kinds = (name: string) => (loadAll(text(name)) as KubeObject[]).map(({ kind }) => kind);
    expect(kinds(`rota-${version}.yaml`)).to.include.members([
      "CustomResourceDefinition",
      "Deployment",
    ]);
    expect(new Set(kinds(`rota-crds-${version}.yaml`))).to.deep.equal(
      new Set(["CustomResourceDefinition"]),
    );
  });

  it("has a chart that renders this version's image", async () => {
    const chart = join(folder, `rota-${version}.tgz`);
    const { stdout } = await runInProject(await ensureGoTool(helm), ["template", "rota", chart]);
    expect(stdout).to.include(`image: rota:${version}`);
  });

  it("has an operator that runs from where it is unpacked", async () => {
    await run("tar", [
      "--extract",
      `--file=${join(folder, `rota-operator-${version}.tgz`)}`,
      "-C",
      folder,
    ]);
    const program = join(folder, `rota-operator-${version}`, "rota.mjs");
    const env = { PATH: process.env["PATH"] };
    const outcome = await run(process.execPath, [program], { env }).catch((error: unknown) =>
      String(error),
    );
    expect(outcome).to.include("DATABASE_URL must be set");
  });

  it("has a bill of materials of production packages only", () => {
    const { components } = JSON.parse(text(`rota-${version}.cdx.json`)) as {
      readonly components: readonly { readonly name: string }[];
    };
    const names = components.map(({ name }) => name);
    expect(names).to.include.members(["pg", "undici", "prom-client"]);
    expect(names).not.to.include.members(["mocha", "esbuild"]);
  });
});
