import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import packageFile from "../../package.json" with { type: "json" };
import { nodeFlags } from "../../dev/local/operator.ts";
import { projectRoot } from "../../dev/local/paths.ts";

/** What bounds memory: what is measured and tested is what is shipped. */
const memoryFlags = (command: string): string[] => command.match(/--max-[a-z-]+=\d+/g) ?? [];

describe("the operator's Node flags", () => {
  it("are the same in the image, npm start and tests", () => {
    const dockerfile = readFileSync(join(projectRoot, "Dockerfile"), "utf8");
    const [entryPoint = ""] = /^ENTRYPOINT .*$/m.exec(dockerfile) ?? [];
    expect(memoryFlags(entryPoint)).to.have.lengthOf(1).and.to.deep.equal(nodeFlags);
    expect(memoryFlags(packageFile.scripts.start)).to.deep.equal(nodeFlags);
  });
});
