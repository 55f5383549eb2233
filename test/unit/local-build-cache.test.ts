import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { builtOnce } from "../../dev/local/build-cache.ts";

const dayMs = 86_400_000;

describe("programs built once", () => {
  let cache: string;
  beforeEach(() => {
    cache = mkdtempSync(join(tmpdir(), "rota-built-"));
  });
  afterEach(() => rmSync(cache, { recursive: true, force: true }));

  const name = (program: string, digit: string) => `${program}-${digit.repeat(16)}`;
  const there = () => readdirSync(cache).sort();

  function madeBefore(days: number, folder: string): string {
    const path = join(cache, folder);
    mkdirSync(path);
    writeFileSync(join(path, "program"), "built");
    const then = new Date(Date.now() - days * dayMs);
    utimesSync(path, then, then);
    return path;
  }

  async function build(folder: string): Promise<number> {
    let builds = 0;
    await builtOnce(join(cache, folder), {
      name: "a program",
      typicalTime: "no time",
      packageCount: 1,
      build: async (into) => {
        builds += 1;
        writeFileSync(join(into, "program"), "built");
      },
    });
    return builds;
  }

  it("are built once for each folder", async () => {
    expect(await build(name("helm", "a"))).to.equal(1);
    expect(await build(name("helm", "a"))).to.equal(0);
    expect(there()).to.deep.equal([name("helm", "a")]);
  });

  it("go after 30 unused days when a newer exists", async () => {
    madeBefore(31, name("helm", "a"));
    madeBefore(40, `${name("helm", "b")}.building`);
    madeBefore(29, name("helm", "c"));
    madeBefore(400, name("promtool", "d"));
    madeBefore(400, "helm-notes");
    await build(name("helm", "c"));
    expect(there()).to.have.lengthOf(5);
    await build(name("helm", "e"));
    expect(there()).to.deep.equal([
      name("helm", "c"),
      name("helm", "e"),
      "helm-notes",
      name("promtool", "d"),
    ]);
  });

  it("stay while they are used, however old", async () => {
    madeBefore(400, name("helm", "a"));
    expect(await build(name("helm", "a"))).to.equal(0);
    await build(name("helm", "b"));
    expect(there()).to.deep.equal([name("helm", "a"), name("helm", "b")]);
  });

  it("are complete under concurrent builds and removals", async () => {
    madeBefore(31, name("helm", "a"));
    const old = name("helm", "a");
    const builtOnceFile = import.meta.resolve("../../dev/local/build-cache.ts");
    const run = (folder: string) =>
      promisify(execFile)(process.execPath, [
        "--input-type=module",
        "--eval",
        `import { builtOnce } from ${JSON.stringify(builtOnceFile)};
         import { readFileSync, writeFileSync } from "node:fs";
         const folder = ${JSON.stringify(folder)};
         await builtOnce(folder, {
           name: "a program", typicalTime: "no time", packageCount: 1,
           build: async (into) => writeFileSync(into + "/program", "built"),
         });
         process.stdout.write(readFileSync(folder + "/program", "utf8"));`,
      ]);
    const folders = [old, name("helm", "b"), old, name("helm", "c"), old, name("helm", "b")];
    const outcomes = await Promise.all(folders.map((folder) => run(join(cache, folder))));
    expect(outcomes.map(({ stdout }) => stdout)).to.deep.equal(folders.map(() => "built"));
    expect(there()).to.deep.equal(["a", "b", "c"].map((digit) => name("helm", digit)));
  });
});
