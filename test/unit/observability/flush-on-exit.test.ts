/** The end of a process whose log is read slowly, as a container's is. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "chai";
import { errorText } from "../../../src/runtime/logger.ts";

/** Reads what the fixture logs from when its pipe is full; returns the last line and the status. */
async function lastWords(how: string): Promise<{ line: string; status: unknown }> {
  const script = join(import.meta.dirname, "flush-on-exit-fixture.ts");
  const child = spawn(process.execPath, [script, how], { stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close");
  try {
    await once(child.stdout, "data");
    let log = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log += text;
    });
    const [status] = await closed;
    return { line: log.trimEnd().split("\n").at(-1) ?? "", status };
  } finally {
    child.kill("SIGKILL");
  }
}

describe("the last log lines of a process", () => {
  it("say why, when a component fails to start", async () => {
    const { line, status } = await lastWords("fails");
    expect(line).to.match(/stopping reason="a component failed to start"/);
    expect(status).to.equal(1);
  });

  it("say why, when an error was caught by nobody", async () => {
    const { line, status } = await lastWords("rejects");
    expect(line).to.match(/unhandled rejection error="the last words"/);
    expect(status).to.equal(1);
  });

  it("are never empty, even for errors without a message", () => {
    expect(errorText(new TypeError())).to.equal("TypeError");
    const rejected = ["::1", "127.0.0.1"].map((host) => new Error(`connect ECONNREFUSED ${host}`));
    expect(errorText(new AggregateError(rejected))).to.equal(
      "connect ECONNREFUSED ::1; connect ECONNREFUSED 127.0.0.1",
    );
  });
});
