/**
 * `npm run docs:tour`: writes docs/asking.md from a real run of the plugin, as an administrator and as a member of a team,
 * with the examples on a control plane of its own.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { KubeObject } from "../../src/kube/resource.ts";
import { startInstallation, type Installation } from "../../test/support/installation.ts";
import { buildPlugin, type Plugin } from "../../test/support/plugin.ts";
import type { Operator } from "../local/operator.ts";
import { projectRoot } from "./shell.ts";

type Who = "admin" | "vera";

interface GangState {
  readonly title: string;
  readonly text: string;
  readonly commands: readonly { readonly who: Who; readonly args: readonly string[] }[];
  /** Runs before the commands. */
  readonly before?: (installation: Installation) => Promise<void>;
}

const as = (who: Who, line: string) => ({ who, args: line.split(" ") });

async function apply({ view }: Installation, objects: readonly KubeObject[]): Promise<void> {
  for (const object of objects) await view.apply(object);
}

async function furnish(installation: Installation): Promise<void> {
  const { view } = installation;
  const example = (file: string) => apply(installation, view.example(file));
  await example("10-tenants.yaml");
  await example("20-plans.yaml");
  await view.until("the plans to be accepted", async () =>
    (await view.plans()).every(({ status }) => status.acceptedGeneration !== undefined),
  );
  await view.until("the namespaces to be there", async () =>
    (await view.projects()).every(({ status }) => status.namespace !== undefined),
  );
  await example("25-overlapping-plan.yaml");
  await example("30-configuration.yaml");
  await apply(installation, [
    {
      apiVersion: "rota.dev/v1alpha1",
      kind: "ConfigCommit",
      metadata: { namespace: "vision", name: "resnet-2" },
      spec: {
        message: "half the rate",
        parent: "resnet-1",
        tag: "v2",
        content: { model: "resnet50", learningRate: 0.05, augment: "yes", epochs: 90 },
      },
    },
  ]);
  await example("40-low-priority-jobs.yaml");
  await view.until("the jobs to run", async () =>
    (await view.jobs()).every(({ status }) => status.state === "Running"),
  );
  const large = view.example("40-low-priority-jobs.yaml").find(({ kind }) => kind === "Job");
  if (!large) throw new Error("the examples have no job");
  await apply(installation, [{ ...large, metadata: { ...large.metadata, name: "train-more" } }]);
  await view.until("a job to wait", async () =>
    (await view.jobs()).some(({ status }) => status.queuePosition !== undefined),
  );
}

async function preempt(installation: Installation): Promise<void> {
  const { view } = installation;
  await apply(installation, view.example("50-high-priority-job.yaml"));
  await view.until("the high-priority job to run", async () =>
    (await view.jobs()).some(
      ({ status }) => status.state === "Running" && status.priority === 1000,
    ),
  );
}

const steps: readonly GangState[] = [
  {
    title: "Queue",
    text: "Waiting jobs in queue order, with their wait reasons. `-w` prints the list again after each change.",
    commands: [as("admin", "queue -A")],
  },
  {
    title: "Why a job waits",
    text: "The next scheduling decision, the plans that apply, and each node. For a job with a preempting class, also the jobs that it may evict. Vera is a member of the group vision-team.",
    commands: [as("vera", "why train-more -n vision")],
  },
  {
    title: "Project tree",
    text: "GPUs of each project and its descendants. Members see the projects in which they have a role.",
    commands: [as("admin", "tree"), as("vera", "tree")],
  },
  {
    title: "Plans",
    text: "The week of an owner, in the installation's time zone. A rejected plan has its reason.",
    commands: [as("admin", "plans group:vision-team")],
  },
  {
    title: "Capacity and usage",
    text: "Everyone may see pools; nodes require the permission to list nodes.",
    commands: [as("vera", "top"), as("admin", "top nodes")],
  },
  {
    title: "Configuration",
    text: "Commits have a name and, optionally, a tag; both work.",
    commands: [
      as("vera", "config log -n vision"),
      as("vera", "config show v2 -n vision"),
      as("vera", "config diff v1 v2 -n vision"),
    ],
  },
  {
    title: "Permissions",
    text: "The exit status is 0 for yes and 1 for no. Admins of a project may ask about other users.",
    commands: [as("vera", "can me submit vision"), as("vera", "can me view production")],
  },
  {
    title: "Evictions",
    text: "A high-priority job has arrived. The preemption log shows which jobs were evicted for it and which alternatives were considered. Jobs of projects that you may not see stay unnamed.",
    before: preempt,
    commands: [as("admin", "preemptions --reasons"), as("vera", "preemptions")],
  },
  {
    title: "Usage",
    text: "GPU-hours and CPU-hours from the history, which outlives jobs and projects.",
    commands: [
      as("admin", "usage --since 1h"),
      as("vera", "usage --since 1h --within vision --by day --by pool"),
    ],
  },
];

interface Stage {
  readonly installation: Installation;
  readonly operator: Operator;
  readonly plugin: Plugin;
  readonly kubeconfigs: Readonly<Record<Who, string>>;
}

async function play({ installation, operator, plugin, kubeconfigs }: Stage): Promise<string> {
  const sections: string[] = [];
  for (const { title, text, commands, before } of steps) {
    await before?.(installation);
    const lines: string[] = [];
    for (const { who, args } of commands) {
      const direct = ["--server", operator.apiUrl, "--insecure-skip-tls-verify"];
      const { stdout, stderr } = await plugin.run(kubeconfigs[who], [...args, ...direct]);
      const prompt =
        commands.length > 1 && commands.some((one) => one.who !== who) ? `${who}$` : "$";
      lines.push(`${prompt} kubectl rota ${args.join(" ")}`, `${stdout}${stderr}`.trimEnd(), "");
    }
    sections.push(`## ${title}\n\n${text}\n\n\`\`\`\n${lines.join("\n").trimEnd()}\n\`\`\`\n`);
  }
  return sections.join("\n");
}

const head = `# Asking Rota

\`kubectl rota\` is a plugin for kubectl. After [npm run local:up](../README.md), \`source .local/env\` puts it on the PATH. To install it from a clone: \`npm run bundle:cli && npm install --global ./cli\`; it needs Node 22.19 or newer. \`kubectl-rota completion bash\` (or zsh, fish) prints the completion of your shell.

It uses your kubeconfig and shows what you may see; [the HTTP API's page](operations/http-api.md) has the details. Every command has \`-o json\` and \`-o yaml\`. The [reference](reference/cli.md) lists all commands and options.

This page is written by \`npm run docs:tour\`, which runs the [examples](../examples) on three nodes of 8 GPUs.

`;

const installation = await startInstallation();
try {
  const plugin = await buildPlugin();
  await installation.cluster.addNodes({ count: 3, gpus: 8 });
  const operator = await installation.operate({ ROTA_TIME_ZONE: "Europe/Berlin" });
  await furnish(installation);
  const kubeconfigs = {
    admin: installation.cluster.kubeconfig,
    vera: await installation.cluster.user("vera", ["vision-team"]),
  };
  const file = join(projectRoot, "docs", "asking.md");
  writeFileSync(file, head + (await play({ installation, operator, plugin, kubeconfigs })));
  plugin.remove();
  console.log(`wrote ${file}`);
} finally {
  await installation.stop();
}
