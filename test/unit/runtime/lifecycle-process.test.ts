/** The lifecycle in a process of its own: what the operating system sees. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "chai";

function start(...args: string[]) {
  const script = join(import.meta.dirname, "lifecycle-fixture.ts");
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  const waiting = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    for (const look of waiting) look();
  });
  const says = (text: string): Promise<void> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (!output.includes(text)) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      look();
    });
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  return { child, ended, says, output: () => output };
}

describe("the lifecycle of a process", () => {
  it("drains on the first signal, and exits on another", async () => {
    const { child, ended, says, output } = start();
    try {
      await says("up");
      child.kill("SIGTERM");
      await says("stopping");
      // One that comes together with the first is the same Ctrl-C: send until it counts.
      const requeueAfter = setInterval(() => child.kill("SIGTERM"), 100);
      const [status] = await ended.finally(() => clearInterval(requeueAfter));
      expect(status).to.equal(128 + 15);
      expect(output()).to.include("second signal: exiting at once");
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("ends with a message on an unhandled rejection", async () => {
    const { child, ended, output } = start("reject");
    try {
      expect((await ended)[0]).to.equal(1);
      expect(output()).to.match(/unhandled rejection.*nobody caught this/);
    } finally {
      child.kill("SIGKILL");
    }
  });
});
