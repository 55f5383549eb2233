import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { projectRoot } from "../../../dev/local/paths.ts";

interface PackageFile {
  readonly version: string;
  readonly license: string;
  readonly engines: { readonly node: string };
  readonly bin: Readonly<Record<string, string>>;
  readonly files: readonly string[];
  readonly dependencies?: object;
}

const read = (path: string): PackageFile =>
  JSON.parse(readFileSync(join(projectRoot, path), "utf8"));

describe("the plugin's package", () => {
  const own = read("cli/package.json");

  it("has the project's version and licence, and no dependencies", () => {
    const root = read("package.json");
    expect([own.version, own.license]).to.deep.equal([root.version, root.license]);
    expect(own.dependencies).to.equal(undefined);
  });

  it("contains its executables", () => {
    expect(own.files).to.have.members([...Object.values(own.bin), "bundle.mjs"]);
    for (const file of Object.values(own.bin)) {
      expect(existsSync(join(projectRoot, "cli", file)), file).to.equal(true);
    }
  });

  describe("its entry point", () => {
    let folder: string;
    let entry: string;

    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), "rota-entry-"));
      entry = join(folder, "kubectl-rota.mjs");
      copyFileSync(join(projectRoot, "cli", "kubectl-rota.mjs"), entry);
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    /** Runs it beside a bundle of these lines, on a Node that claims to be of this version. */
    function runOn(version: string, bundle: string) {
      writeFileSync(join(folder, "bundle.mjs"), bundle);
      const claim = `data:text/javascript,Object.defineProperty(process,"versions",{value:{node:"${version}"}})`;
      const { status, stdout, stderr } = spawnSync(
        process.execPath,
        ["--import", claim, entry, "__complete", "q"],
        { encoding: "utf8" },
      );
      return { status, stdout, stderr };
    }

    it("names the Node that it needs before reading the bundle", () => {
      const min = own.engines.node.replace(">=", "");
      for (const version of ["16.20.2", "20.20.2", "22.18.9"]) {
        expect(runOn(version, "this is no JavaScript")).to.deep.equal({
          status: 2,
          stdout: "",
          stderr: `kubectl rota needs Node ${min} or newer, this is ${version}\n`,
        });
      }
      expect(runOn(`${min}.0`, "console.log('ran')").stdout).to.equal("ran\n");
    });

    it("prints errors without the source around them", () => {
      const thrown = runOn("26.0.0", "/* source */ throw new Error('at once');");
      const later = runOn("26.0.0", "setTimeout(() => { throw new Error('later'); });");
      for (const [outcome, word] of [
        [thrown, "at once"],
        [later, "later"],
      ] as const) {
        expect(outcome.status).to.equal(1);
        expect(outcome.stderr).to.match(new RegExp(`^error: ${word} .*\n$`));
      }
    });
  });
});
