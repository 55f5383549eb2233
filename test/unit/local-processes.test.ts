import { expect } from "chai";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startDaemon, unlessItDies } from "../../dev/local/daemon.ts";
import { withLock } from "../../dev/local/lock.ts";
import { freePorts, isFree } from "../../dev/local/ports.ts";
import { readProcesses, recordProcess, writeProcesses } from "../../dev/local/process-file.ts";
import { endProcess, identityOf, isRunning, sendSignal } from "../../dev/local/processes.ts";
import { waitFor } from "../../dev/local/wait.ts";

let folder: string;
const lockFile = (): string => join(folder, "lock");
const refuse = (): never => {
  throw new Error("refused");
};

describe("local processes and files", () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rota-local-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  describe("recorded processes", () => {
    const started: ChildProcess[] = [];
    const start = (script: string) => {
      const child = spawn("/bin/sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
      started.push(child);
      const pid = child.pid ?? 0;
      return { child, record: { name: "test", pid, identity: identityOf(pid) ?? "" } };
    };
    afterEach(() => {
      for (const child of started.splice(0)) child.kill("SIGKILL");
    });

    it("are ended by the signal", async () => {
      const { record } = start("sleep 100");
      expect(isRunning(record)).to.equal(true);
      await endProcess(record, "SIGTERM", 5_000);
      expect(isRunning(record)).to.equal(false);
    });

    it("are killed when they ignore it", async () => {
      const { child, record } = start("trap '' TERM; echo ready; while :; do sleep 1; done");
      await new Promise((resolve) => child.stdout?.once("data", resolve));
      await endProcess(record, "SIGTERM", 50);
      expect(isRunning(record)).to.equal(false);
    });

    it("are left alone when the pid belongs to another", () => {
      const { record } = start("sleep 100");
      expect(sendSignal({ ...record, identity: "earlier" }, "SIGKILL")).to.equal(false);
      expect(isRunning(record)).to.equal(true);
    });

    it("are remembered in a folder, one for each name", () => {
      recordProcess(folder, { name: "a", pid: 1, identity: "x" });
      recordProcess(folder, { name: "b", pid: 2, identity: "y" });
      recordProcess(folder, { name: "a", pid: 3, identity: "z" });
      expect(readProcesses(folder).map(({ name, pid }) => [name, pid])).to.deep.equal([
        ["b", 2],
        ["a", 3],
      ]);
      writeProcesses(folder, []);
      expect(readProcesses(folder)).to.deep.equal([]);
    });

    it("are not read from a damaged file", () => {
      writeFileSync(join(folder, "processes.json"), '[{"pid": "x"}, 3');
      expect(readProcesses(folder)).to.deep.equal([]);
    });
  });

  describe("daemons", () => {
    it("that die at their start are reported with their log", async () => {
      const logFile = join(folder, "log");
      const args = ["-c", "echo no such port >&2; exit 3"];
      const daemon = startDaemon({
        name: "broken",
        command: "/bin/sh",
        args,
        logFile,
        background: false,
      });
      const ready = new Promise<never>(() => undefined);
      const error = await unlessItDies(daemon, logFile, ready).catch((reason: unknown) => reason);
      expect(String(error)).to.match(/broken ended at its start \(status 3\)[^]*no such port/);
    });
  });

  describe("a lock on a folder", () => {
    it("lets one in at a time", async () => {
      let inside = 0;
      let most = 0;
      const work = async (): Promise<void> => {
        inside += 1;
        most = Math.max(most, inside);
        await new Promise(setImmediate);
        inside -= 1;
      };
      await Promise.all([withLock(lockFile(), work), withLock(lockFile(), work)]);
      expect(most).to.equal(1);
      expect(existsSync(lockFile())).to.equal(false);
    });

    it("is taken over from a dead process", async () => {
      const { host } = await withLock(lockFile(), async () =>
        JSON.parse(readFileSync(lockFile(), "utf8")),
      );
      writeFileSync(lockFile(), JSON.stringify({ host, pid: process.pid, identity: "earlier" }));
      expect(await withLock(lockFile(), async () => "done")).to.equal("done");
    });

    it("is given back when the work fails", async () => {
      const failing = withLock(lockFile(), async () => {
        throw new Error("no");
      });
      expect(await failing.catch((error: unknown) => String(error))).to.equal("Error: no");
      expect(existsSync(lockFile())).to.equal(false);
    });
  });

  describe("free ports", () => {
    it("are distinct, and outside the ephemeral range", async () => {
      const ports = await freePorts(5);
      expect(new Set(ports)).to.have.lengthOf(5);
      for (const port of ports) {
        expect(port).to.be.within(20_000, 31_999);
        expect(await isFree(port)).to.equal(true);
      }
    });
  });

  describe("a wait for a condition", () => {
    it("names what it gave up on, and why", async () => {
      const options = { what: "the sun", timeoutMs: 5, intervalMs: 1 };
      const error = await waitFor(refuse, options).catch((reason: unknown) => reason);
      expect(error)
        .to.be.an("error")
        .with.property("message")
        .that.matches(/^gave up .* the sun/);
      expect(error).to.have.nested.property("cause.message", "refused");
    });
  });
});
