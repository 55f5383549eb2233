/** The plugin's commands and options. What they do is loaded when they are run, so that the rest starts fast. */
import { Argument, Command, InvalidArgumentError, Option } from "commander";
import { topics, usageKeys, verbs, type Topic, type UsageKey, type Verb } from "./choices.ts";
import { scripts, shells, type Shell } from "./completion.ts";
import { exitCodes } from "./errors.ts";
import type { Show } from "./run.ts";
import type { GlobalOptions } from "./session.ts";

/** Told the status to end with. */
export type Finish = (exitCode: number) => void;

function wholeNumber(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("a whole number above 0 is wanted");
}

const collected = (value: string, former: readonly string[] = []): string[] => [...former, value];

function addGlobalOptions(program: Command): void {
  program
    .option("-n, --namespace <name>", "the namespace; default: the context's")
    .option("--context <name>", "the kubeconfig's context")
    .option("--kubeconfig <file>", "the kubeconfig; default: KUBECONFIG, else ~/.kube/config")
    .addOption(
      new Option("-o, --output <format>", "what is printed")
        .choices(["table", "json", "yaml"])
        .default("table"),
    )
    .option("-w, --watch", "print again whenever it changes")
    .option("--rota-namespace <name>", "where Rota is installed", "rota-system")
    .option("--server <url>", "the URL of an operator's HTTP API, without the API server between")
    .option("--certificate-authority <file>", "the authority of --server's certificate")
    .option("--insecure-skip-tls-verify", "do not verify --server's certificate");
}

/** @param finish told the status of the command that ran */
export function createProgram(finish: Finish, version = "0.0.0"): Command {
  const program = new Command("kubectl-rota")
    .usage("COMMAND [options]")
    .description("Ask Rota what waits, why, who may use what, and what was used.")
    .version(version)
    .showHelpAfterError("(kubectl rota --help shows what there is)")
    .exitOverride();
  addGlobalOptions(program);
  const runs = async (command: Command, show: () => Promise<Show>): Promise<void> => {
    const [{ run }, shown] = await Promise.all([import("./run.ts"), show()]);
    finish(await run(command.optsWithGlobals<GlobalOptions>(), shown));
  };

  program
    .command("queue")
    .description("jobs that wait, in the order of the queue, with what is in their way")
    .option("-A, --all-namespaces", "of all namespaces")
    .option("--pool <name>", "only this pool")
    .action((options: { pool?: string }, command: Command) =>
      runs(command, async () => (await import("./commands/queue.ts")).queue(options)),
    );
  program
    .command("why")
    .description("why a job is where it is: its plans, the nodes one by one, whom it could evict")
    .argument("<job>", "name of the job, or namespace/name")
    .action((name: string, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/why.ts")).why(name)),
    );
  program
    .command("tree")
    .description("projects with what they and all below them have, use and wait for")
    .argument("[project]", "the project to begin with")
    .action((root: string | undefined, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/tree.ts")).tree(root)),
    );
  program
    .command("plans")
    .description("the week of each owner as a calendar")
    .argument("[owner]", "user:NAME or group:NAME; default: all that you may see")
    .action((owner: string | undefined, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/plans.ts")).plans(owner)),
    );
  program
    .command("top")
    .description("what pools or nodes have, and how much of it is used")
    .addArgument(new Argument("[what]", "pools or nodes").choices(topics).default("pools"))
    .option("--pool <name>", "only this pool")
    .action((what: Topic, options: { pool?: string }, command: Command) =>
      runs(command, async () => (await import("./commands/top.ts")).top(what, options)),
    );
  program
    .command("preemptions")
    .description("evictions, the newest first: for whom, by which rule, and what became of them")
    .option("--since <time>", "24h, 7d, or a date")
    .option("--reasons", "with the reason of each, and what else was considered")
    .addOption(new Option("--limit <count>", "at most so many").argParser(wholeNumber).default(50))
    .action((options: { since?: string; reasons?: boolean; limit: number }, command: Command) =>
      runs(command, async () => (await import("./commands/preemptions.ts")).preemptions(options)),
    );
  addUsage(program, runs);
  addConfig(program, runs);
  program
    .command("can")
    .description("whether a user's role in a project is enough; ends with status 1 for no")
    .argument("<user>", "name of the user, or me")
    .addArgument(new Argument("<verb>", "what for").choices(verbs))
    .argument("<project>", "name of the project")
    .option("--group <name>", "a group of that user; may be repeated", collected)
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
  throw new InvalidArgumentError(`allowed are ${usageKeys.join(", ")}`);
}

function addUsage(program: Command, runs: Runs): void {
  program
    .command("usage")
    .description("GPU-hours and CPU-hours that jobs used")
    .option("--since <time>", "24h, 7d, or a date", "7d")
    .option("--until <time>", "default: now")
    .option("--by <key>", `${usageKeys.join(", ")}; may be repeated (default: subtree)`, usageKey)
    .option(
      "--within <project>",
      "only this project and those below; needed unless you may see all",
    )
    .option("--pool <name>", "only this pool")
    .addOption(
      new Option("--limit <count>", "at most so many").argParser(wholeNumber).default(5000),
    )
    .action(({ by = ["subtree"], ...options }: UsageFlags, command: Command) =>
      runs(command, async () => (await import("./commands/usage.ts")).usage({ ...options, by })),
    );
}

function addConfig(program: Command, runs: Runs): void {
  const config = program
    .command("config")
    .description("versions of the configuration in a project's namespace");
  config
    .command("log")
    .description("the commits, the newest first")
    .action((_options: object, command: Command) =>
      runs(command, async () => (await import("./commands/config.ts")).log),
    );
  config
    .command("show")
    .description("one commit with its content")
    .argument("<commit>", "name or tag")
    .action((ref: string, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/config.ts")).show(ref)),
    );
  config
    .command("diff")
    .description("what changed from one commit to another")
    .argument("<from>", "name or tag")
    .argument("<to>", "name or tag")
    .action((from: string, to: string, _options: object, command: Command) =>
      runs(command, async () => (await import("./commands/config.ts")).diff(from, to)),
    );
}

function addCompletion(program: Command): void {
  program
    .command("completion")
    .description("the script that completes commands in a shell")
    .addArgument(new Argument("<shell>", "the shell").choices(shells))
    .action((shell: Shell) => {
      process.stdout.write(scripts[shell]);
    });
}

/** Commander has said what is wrong already. */
export const usageExitCode = (code: string): number =>
  code === "commander.helpDisplayed" || code === "commander.version" || code === "commander.help"
    ? 0
    : exitCodes.usage;
