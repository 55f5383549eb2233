import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";

const mocha = join(import.meta.dirname, "../../node_modules/mocha/bin/mocha.js");
const fixture = join(import.meta.dirname, "fails-until-fixture.ts");

interface Run {
  readonly status: number;
  readonly output: string;
}

/** Runs the fixture's tests of this full title in a mocha process of their own. */
async function run(title: string): Promise<Run> {
  const args = [mocha, "--no-color", "--reporter=spec", `--grep=^${title}`, fixture];
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 30_000 });
    return { status: 0, output: stdout };
  } catch (error) {
    const { code, stdout } = error as { code?: unknown; stdout?: string };
    if (typeof code !== "number") throw error;
    return { status: code, output: stdout ?? "" };
  }
}

describe("failsUntil", () => {
  for (const [how, failure] of [
    ["throws", "Error: not yet"],
    ["rejects", "Error: not yet"],
    ["hangs", "Error: no end within 0.1 s"],
  ] as const) {
    it(`reports a test that ${how} as pending, with the issue`, async () => {
      const { status, output } = await run(`a marked test ${how}`);
      expect(output).to.match(/1 pending/);
      expect(output).to.contain(`- ${how} (fails until issue 99)`);
      expect(output).to.contain(`fails until issue 99: ${failure}`);
      expect(status).to.equal(0);
    });
  }

  it("fails once the test passes", async () => {
    const { status, output } = await run("a marked test passes");
    expect(output).to.contain('passes now: replace failsUntil("issue 99", ...) by it(...)');
    expect(output).to.match(/1 failing/);
    expect(status).to.equal(1);
  });

  it("leaves a test that skips itself pending", async () => {
    const { status, output } = await run("a marked test skips");
    expect(output).to.match(/1 pending/);
    expect(output).to.not.contain("fails until issue 99:");
    expect(status).to.equal(0);
  });

  for (const [hook, error] of [
    ["set-up", "no cluster"],
    ["clean-up", "left a process"],
  ] as const) {
    it(`fails when the ${hook} fails`, async () => {
      const { status, output } = await run(`a marked test whose ${hook} fails`);
      expect(output).to.match(/1 failing/);
      expect(output).to.contain(error);
      expect(status).to.equal(1);
    });
  }
});
