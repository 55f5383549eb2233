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
  let operator: ChildProcess | undefined;
  let operatorEnded: Promise<unknown> = Promise.resolve();

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

  async function startOperator(): Promise<void> {
    const logFile = join(directory, "operator.log");
    const log = openSync(logFile, "w");
    const child = spawn("bash", ["-c", "source .local/env; exec npm start"], {
      cwd: copy,
      // A process group of its own tells whether anything of it is left.
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, ROTA_HTTP_PORT: "0", ROTA_API_PORT: "0" },
    });
    closeSync(log);
    operator = child;
    operatorEnded = new Promise((resolve) => {
      child.once("exit", resolve);
    });
    await waitFor(() => Promise.resolve(readFileSync(logFile, "utf8").includes("leads")), {
      what: "the operator to lead",
      timeoutMs: 60_000,
    });
  }

  /** Whoever watches over `npm start` signals npm alone: the operator must hear of it. */
  async function stopOperator(): Promise<void> {
    const pid = operator?.pid;
    if (pid === undefined) return;
    operator?.kill("SIGTERM");
    operator = undefined;
    await operatorEnded;
    try {
      await waitFor(() => Promise.resolve(!signalGroup(pid, 0)), {
        what: "all processes of npm start to end",
        timeoutMs: 30_000,
      });
    } finally {
      signalGroup(pid, "SIGKILL");
    }
  }

  async function follow(command: string): Promise<void> {
    if (command === "source .local/env") return run('test -n "$KUBECONFIG"');
    if (command === "npm start") return startOperator();
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
