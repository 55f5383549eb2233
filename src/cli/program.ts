/** The plugin's commands and options. A command's code is loaded when it runs, which keeps help and completion fast. */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { topics, usageKeys, verbs, type Topic, type UsageKey, type Verb } from "./choices.ts";
import { scripts, shells, type Shell } from "./completion.ts";
import { exitCodes } from "./errors.ts";
import type { Show } from "./run.ts";
import type { GlobalOptions } from "./session.ts";

/** Receives the exit status. */
export type Finish = (exitCode: number) => void;

function positiveInteger(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("must be a positive integer");
}

const collected = (value: string, former: readonly string[] = []): string[] => [...former, value];

function addGlobalOptions(program: Command): void {
  program
    .option("-n, --namespace <name>", "namespace (default: the context's)")
    .option("--context <name>", "context of the kubeconfig")
    .option("--kubeconfig <file>", "kubeconfig file (default: KUBECONFIG, then ~/.kube/config)")
    .addOption(
      new Option("-o, --output <format>", "output format")
        .choices(["table", "json", "yaml"])
        .default("table"),
    )
    .option("-w, --watch", "print again after each change")
    .option("--rota-namespace <name>", "namespace of the Rota installation", "rota-system")
    .addOption(
      new Option(
        "--server <url>",
        "URL of an operator's HTTP API, to bypass the API server's proxy",
      ).env("ROTA_SERVER"),
    )
    .addOption(
      new Option("--certificate-authority <file>", "PEM file that verifies --server").env(
        "ROTA_CERTIFICATE_AUTHORITY",
      ),
    )
    .option("--insecure-skip-tls-verify", "do not verify the certificate of --server");
}

/** @param finish receives the exit status of the command that ran */
export function createProgram(finish: Finish, version = "0.0.0"): Command {
  const program = new Command("kubectl-rota")
    .usage("COMMAND [options]")
    .description("Show queues, wait reasons, plans, permissions and usage of Rota.")
    .version(version)
    .showHelpAfterError("See kubectl rota --help.")
    .exitOverride();
  addGlobalOptions(program);
  const runs = async (command: Command, show: () => Promise<Show>): Promise<void> => {
    const [{ run }, shown] = await Promise.all([import("./run.ts"), show()]);
    finish(await run(command.optsWithGlobals<GlobalOptions>(), shown));
  };

  program
    .command("queue")
    .description("List waiting jobs in queue order, with their wait reasons")
    .option("-A, --all-namespaces", "list jobs of all namespaces")
    .option("--pool <name>", "only this pool")
    .action((options: { pool?: string }, command: Command) =>
      runs(command, async () => (await import("./commands/queue.ts")).queue(options)),
    );
  program
    .command("why")
    .description("Explain why a job waits: its plans, each node, the jobs it could evict")
    .argument("<job>", "name of the job, or namespace/name")
    .action((name: string, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/why.ts")).why(name)),
    );
  program
    .command("tree")
    .description("Show the project tree with planned, used and pending GPUs")
    .argument("[project]", "root of the tree (default: all projects)")
    .action((root: string | undefined, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/tree.ts")).tree(root)),
    );
  program
    .command("plans")
    .description("Show plans as a weekly calendar for each owner")
    .argument("[owner]", "user:NAME or group:NAME (default: all that you may see)")
    .action((owner: string | undefined, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/plans.ts")).plans(owner)),
    );
  program
    .command("top")
    .description("Show capacity and usage of pools or nodes")
    .addArgument(new Argument("[what]", "pools or nodes").choices(topics).default("pools"))
    .option("--pool <name>", "only this pool")
    .action((what: Topic, options: { pool?: string }, command: Command) =>
      runs(command, async () => (await import("./commands/top.ts")).top(what, options)),
    );
  program
    .command("preemptions")
    .description("List evictions, newest first, with preemptor, rule and outcome")
    .option("--since <time>", "24h, 7d, or a date")
    .option("--reasons", "print reasons and rejected alternatives")
    .addOption(
      new Option("--limit <count>", "maximum number of rows")
        .argParser(positiveInteger)
        .default(50),
    )
    .action((options: { since?: string; reasons?: boolean; limit: number }, command: Command) =>
      runs(command, async () => (await import("./commands/preemptions.ts")).preemptions(options)),
    );
  addUsage(program, runs);
  addConfig(program, runs);
  program
    .command("can")
    .description(
      "Check whether a user may view, submit or administer in a project; exit status 1 means no",
    )
    .argument("<user>", "name of the user, or me")
    .addArgument(new Argument("<verb>", "right to check").choices(verbs))
    .argument("<project>", "name of the project")
    .option("--group <name>", "group of that user (repeatable)", collected)
    .action(
      (
        user: string,
        verb: Verb,
        project: string,
        options: { group?: string[] },
        command: Command,
      ) =>
        runs(command, async () =>
          (await import("./commands/can.ts")).can(user, verb, project, options),
        ),
    );
  addCompletion(program);
  return program;
}

type Runs = (command: Command, show: () => Promise<Show>) => Promise<void>;

interface UsageFlags {
  readonly since: string;
  readonly until?: string;
  readonly by?: UsageKey[];
  readonly within?: string;
  readonly pool?: string;
  readonly limit: number;
}

function usageKey(value: string, former: readonly string[] = []): string[] {
  if (usageKeys.some((key) => key === value)) return [...former, value];
  throw new InvalidArgumentError(`must be one of ${usageKeys.join(", ")}`);
}

function addUsage(program: Command, runs: Runs): void {
  program
    .command("usage")
    .description("Report GPU-hours and CPU-hours")
    .option("--since <time>", "24h, 7d, or a date", "7d")
    .option("--until <time>", "end of the range (default: now)")
    .option(
      "--by <key>",
      `group by ${usageKeys.join(", ")} (repeatable; default: subtree)`,
      usageKey,
    )
    .option(
      "--within <project>",
      "only this project and its descendants; required unless you may list all jobs",
    )
    .option("--pool <name>", "only this pool")
    .addOption(
      new Option("--limit <count>", "maximum number of rows")
        .argParser(positiveInteger)
        .default(5000),
    )
    .action(({ by = ["subtree"], ...options }: UsageFlags, command: Command) =>
      runs(command, async () => (await import("./commands/usage.ts")).usage({ ...options, by })),
    );
}

function addConfig(program: Command, runs: Runs): void {
  const config = program
    .command("config")
    .description("Show versions of a project's configuration");
  config
    .command("log")
    .description("List commits, newest first")
    .action((_options: object, command: Command) =>
      runs(command, async () => (await import("./commands/config.ts")).log),
    );
  config
    .command("show")
    .description("Show a commit with its content")
    .argument("<commit>", "name or tag")
    .action((ref: string, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/config.ts")).show(ref)),
    );
  config
    .command("diff")
    .description("Compare two commits")
    .argument("<from>", "name or tag")
    .argument("<to>", "name or tag")
    .action((from: string, to: string, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/config.ts")).diff(from, to)),
    );
}

function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("Print the completion script of a shell")
    .addArgument(new Argument("<shell>", "shell").choices(shells))
    .action((shell: Shell) => {
      process.stdout.write(scripts[shell]);
    });
}

/** Commander has printed the error already. */
export const usageExitCode = (code: string): number =>
  code === "commander.helpDisplayed" || code === "commander.version" || code === "commander.help"
    ? 0
    : exitCodes.usage;
