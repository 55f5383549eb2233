import { expect } from "chai";
import { parseDownArguments, parseUpArguments, UsageError } from "../../dev/local/settings.ts";

describe("local:up and local:down arguments", () => {
  it("have defaults when nothing is given", () => {
    expect(parseUpArguments([])).to.deep.equal({ nodes: 3, gpusPerNode: 8, realNodes: 0 });
    expect(parseDownArguments([])).to.deep.equal({ remove: false });
  });

  it("are read from the command line", () => {
    const args = ["--nodes", "4", "--gpus-per-node=2", "--real-nodes=1"];
    expect(parseUpArguments(args)).to.deep.equal({ nodes: 4, gpusPerNode: 2, realNodes: 1 });
    expect(parseDownArguments(["--delete"])).to.deep.equal({ remove: true });
  });

  for (const value of ["x", "-1", "1.5", "", "5001"]) {
    it(`refuse the option --nodes=${value}`, () => {
      expect(() => parseUpArguments([`--nodes=${value}`])).to.throw(
        UsageError,
        "--nodes must be an integer from 0 to 5000",
      );
    });
  }

  it("refuse unknown options and list the known ones", () => {
    expect(() => parseUpArguments(["--node", "3"])).to.throw(
      UsageError,
      /^Unknown option '--node'; allowed arguments: --nodes, --gpus-per-node, --real-nodes$/,
    );
    expect(() => parseDownArguments(["now"])).to.throw(UsageError, "Unexpected argument 'now'");
  });
});
