/**
 * Runs the commands of the README and of docs/concepts as a newcomer would, in a fresh copy of the checkout: the README's
 * cluster stays up while those of the concepts run. What another test runs whole is named here, with that test.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, cpSync, existsSync, globSync, mkdirSync, mkdtempSync, openSync } from "node:fs";
import { readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { projectRoot } from "../../dev/local/paths.ts";
import { waitFor } from "../../dev/local/wait.ts";

const runElsewhere: readonly (readonly [RegExp, string])[] = [
  [/^npm test$/, ".ci/run"],
  [/^docker build /, "test/e2e/image.test.ts"],
  [/^kubectl apply --server-side -k manifests\/$/, "test/e2e/install/kustomize.test.ts"],
  [/^helm install /, "test/e2e/install/helm.test.ts"],
];

/** The commands of the file's sh blocks, without their comments; continued lines are one command. */
function commandsOf(text: string): string[] {
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block]) => block ?? "");
  return blocks
    .flatMap((block) => block.replaceAll(/\\\n\s*/g, " ").split("\n"))
    .map((line) => line.replace(/(^|\s+)#.*$/, "").trim())
    .filter((line) => line !== "");
}

const read = (file: string): string => readFileSync(join(projectRoot, file), "utf8");

const elsewhere = (command: string): string | undefined =>
  runElsewhere.find(([pattern]) => pattern.test(command))?.[1];

/** Whether there was anybody to hear it. */
function signalGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

describe("the documentation's commands", () => {
  const directory = mkdtempSync(join(tmpdir(), "rota-docs-"));
  const copy = join(directory, "rota");
  const readme = commandsOf(read("README.md"));
  const concepts = globSync("docs/concepts/*.md", { cwd: projectRoot })
    .toSorted()
    .flatMap((file) => commandsOf(read(file)));
  const nothing = (): Promise<void> => Promise.resolve();
  let stopRunning = nothing;

  before(() => {
    const files = execFileSync("git", ["ls-files", "-z"], { cwd: projectRoot, encoding: "utf8" });
    for (const file of files.split("\0").filter((name) => existsSync(join(projectRoot, name)))) {
      if (file === "") continue;
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      cpSync(join(projectRoot, file), join(copy, file));
    }
    symlinkSync(join(projectRoot, "node_modules"), join(copy, "node_modules"));
  });

  after(async () => {
    await stopOperator();
    if (existsSync(join(copy, ".local"))) run("npm run local:down");
    rmSync(directory, { recursive: true, force: true });
  });

  /** Runs one command in the copy, with what the README's `source .local/env` sets; throws with its output. */
  function run(command: string): void {
    const environment = existsSync(join(copy, ".local", "env")) ? "source .local/env; " : "";
    execFileSync("bash", ["-c", `${environment}${command}`], {
      cwd: copy,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    });
  }

  /** Starts what runs until a signal; the command's log tells when it is up. Returns how to stop it. */
  async function start(command: string, isUp: string): Promise<() => Promise<void>> {
    const logFile = join(directory, "command.log");
    const log = openSync(logFile, "w");
    const child = spawn("bash", ["-c", command], {
      cwd: copy,
      // A process group of its own tells whether anything of it is left.
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ROTA_HTTP_PORT: "0", ROTA_API_PORT: "0" },
    });
    closeSync(log);
    const ended = new Promise((resolve) => {
      child.once("exit", resolve);
    });
    const output = (): string => readFileSync(logFile, "utf8");
    await waitFor(() => Promise.resolve(output().includes(isUp)), {
      what: `${command} to be up`,
      timeoutMs: 180_000,
    });
    return () => stop(child, ended);
  }

  /** Whoever watches over npm signals npm alone: what it runs must hear of it. */
  async function stop(child: ChildProcess, ended: Promise<unknown>): Promise<void> {
    const { pid = 0 } = child;
    expect(child.exitCode, "it runs until it is told to stop").to.equal(null);
    child.kill("SIGTERM");
    await ended;
    try {
      await waitFor(() => Promise.resolve(!signalGroup(pid, 0)), {
        what: "all of its processes to end",
        timeoutMs: 30_000,
      });
    } finally {
      signalGroup(pid, "SIGKILL");
    }
  }

  async function stopOperator(): Promise<void> {
    const stopIt = stopRunning;
    stopRunning = nothing;
    await stopIt();
  }

  /** Without `--exit`, which ends it at once: it stays up for the commands that it prints. */
  async function tryQuickstart(): Promise<void> {
    const stopAll = await start("exec npm run quickstart", "The cluster runs until Ctrl-C");
    const printed = readFileSync(join(directory, "command.log"), "utf8").split("until Ctrl-C")[1];
    const commands = (printed ?? "").split("\n").filter((line) => line.startsWith("  "));
    expect(commands).to.have.length.at.least(5);
    run(`set -e\n${commands.join("\n")}`);
    await stopAll();
  }

  async function follow(command: string): Promise<void> {
    if (command === "source .local/env") return run('test -n "$KUBECONFIG"');
    if (command.startsWith("npm run quickstart")) return tryQuickstart();
    if (command === "npm start") {
      stopRunning = await start("source .local/env; exec npm start", "leads");
      return;
    }
    if (command !== "npm run local:down") return run(command);
    for (const inConcepts of concepts) if (!elsewhere(inConcepts)) run(inConcepts);
    await stopOperator();
    run(command);
  }

  it("work one after the other", async function () {
    this.timeout(600_000);
    expect(readme).to.include.members(["npm start", "npm run local:down"]);
    for (const command of readme) if (!elsewhere(command)) await follow(command);
  });

  it("are tested elsewhere where they are not run here", () => {
    for (const command of [...readme, ...concepts]) {
      const file = elsewhere(command);
      if (file !== undefined) expect(existsSync(join(projectRoot, file)), file).to.equal(true);
    }
    expect(read(".ci/run")).to.match(/^npm test$/m);
  });
});
