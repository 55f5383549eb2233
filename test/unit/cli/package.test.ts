import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { projectRoot } from "../../../dev/local/paths.ts";

interface PackageFile {
  readonly version: string;
  readonly license: string;
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

  it("contains its executable", () => {
    expect(own.files).to.have.members(Object.values(own.bin));
    expect(existsSync(join(projectRoot, "cli", "kubectl_complete-rota"))).to.equal(true);
  });
});
