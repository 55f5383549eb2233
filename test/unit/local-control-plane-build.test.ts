import { expect } from "chai";
import { contentKey } from "../../dev/local/build-cache.ts";
import { formatElapsed } from "../../dev/local/duration.ts";
import { startProgress } from "../../dev/local/progress.ts";
import { linkerFlags } from "../../dev/local/control-plane-build.ts";

describe("toolchain cache key", () => {
  const sources = { "go.mod": "module a", "main.go": "package main" };

  it("does not depend on the order of the files", () => {
    const reversed = Object.fromEntries(Object.entries(sources).reverse());
    expect(contentKey(reversed, ["go1.26"])).to.equal(contentKey(sources, ["go1.26"]));
  });

  it("changes with a file, its name, and a setting", () => {
    const keys = [
      contentKey(sources, ["go1.26"]),
      contentKey({ ...sources, "main.go": "package  main" }, ["go1.26"]),
      contentKey({ "go.mod": "module a", "other.go": "package main" }, ["go1.26"]),
      contentKey(sources, ["go1.27"]),
    ];
    expect(new Set(keys)).to.have.lengthOf(keys.length);
  });

  it("names the version that go.mod requires", () => {
    const flags = linkerFlags("require k8s.io/kubernetes v1.36.3\n").join(" ");
    expect(flags).to.include("gitVersion=v1.36.3");
    expect(flags).to.include("gitMajor=1");
    expect(flags).to.include("gitMinor=36");
    expect(() => linkerFlags("module x")).to.throw("requires no k8s.io/kubernetes");
  });
});

describe("the build's progress", () => {
  it("writes plain lines where there is no terminal", () => {
    const written: string[] = [];
    const progress = startProgress("Building", { write: (text) => written.push(text) });
    progress.end();
    expect(written).to.deep.equal(["Building · 0 s\n"]);
  });

  it("leaves no line on a terminal", () => {
    const written: string[] = [];
    const output = { isTTY: true, columns: 6, write: (text: string) => written.push(text) };
    startProgress("Building", output).end();
    expect(written).to.deep.equal(["\r\u001B[KBuild", "\r\u001B[K"]);
  });

  it("tells minutes from seconds", () => {
    expect(formatElapsed(59_999)).to.equal("59 s");
    expect(formatElapsed(365_000)).to.equal("6 min 05 s");
  });
});
