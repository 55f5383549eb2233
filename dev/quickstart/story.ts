/** The demo: teams with plans fill a cluster, and a high-priority job evicts the fewest pods. */
import { createHash } from "node:crypto";
import canonicalize from "canonicalize";
import type { Pool } from "pg";
import type { KubeObject } from "../../src/kube/resource.ts";
import { keyOf } from "../../src/kube/resource.ts";
import { configCommits } from "../../src/resources/types.ts";
import type { Job, Pod } from "../../src/resources/types.ts";
import { type ClusterView, readyOf } from "./cluster-view.ts";
import { type Narrator, StoryError } from "./narrator.ts";

export interface Stage {
  readonly view: ClusterView;
  readonly narrator: Narrator;
  /** For the preemption log, which is in PostgreSQL only. */
  readonly database: Pool;
}

const releaseKey = "production/release";
const gpusOfStory = 24;

const gpusOf = (pods: readonly Pod[]): number =>
  pods.reduce((sum, pod) => sum + pod.demand.gpus, 0);

const names = (keys: Iterable<string>): string => [...keys].toSorted().join(", ");

/** Removes the objects of an earlier run from a cluster that persists. */
async function clearStage({ view }: Stage): Promise<void> {
  const files = [
    "50-high-priority-job.yaml",
    "40-low-priority-jobs.yaml",
    "25-overlapping-plan.yaml",
  ];
  for (const object of files.flatMap((file) => view.example(file))) await view.remove(object);
}

async function seeNodes({ view, narrator }: Stage): Promise<void> {
  narrator.step("The cluster");
  const nodes = await view.nodes();
  narrator.table(
    ["node", "GPUs", "pool"],
    nodes.map((node) => [node.name, node.allocatable.gpus, node.pool]),
  );
  const isFit =
    nodes.length === 3 && nodes.every((node) => node.schedulable && node.allocatable.gpus === 8);
  narrator.check(isFit, "3 ready nodes with 8 GPUs each");
}

async function makeProjects({ view, narrator }: Stage): Promise<void> {
  narrator.step("Projects: a tree of teams with members and owners");
  for (const object of view.example("10-tenants.yaml")) await view.apply(object);
  const wanted = ["acme", "research", "vision", "speech", "production"];
  const projects = await view.until("all projects to be ready", async () => {
    const ready = (await view.projects()).filter((project) => readyOf(project)?.status === "True");
    return wanted.every((name) => ready.some((project) => project.name === name)) && ready;
  });
  const rows = projects.toSorted((one, other) =>
    (one.status.path ?? "").localeCompare(other.status.path ?? ""),
  );
  narrator.table(
    ["project", "path", "owner", "namespace", "members in effect"],
    rows.map(({ name, spec, status }) => [
      "  ".repeat((status.path ?? "").split(".").length - 1) + name,
      status.path ?? "",
      spec.owner?.name ?? "",
      status.namespace ?? "",
      status.members ?? 0,
    ]),
  );
  const vision = projects.find(({ name }) => name === "vision");
  narrator.check(
    vision?.status.path === "acme.research.vision",
    "vision is a descendant of research and acme",
  );
  narrator.check(
    (vision?.status.members ?? 0) >= 4,
    `vision has ${vision?.status.members ?? 0} members: 1 of its own, the others inherited`,
  );
}

async function showPlans({ view, narrator }: Stage): Promise<void> {
  narrator.table(
    ["plan", "owner", "GPUs", "now", "accepted", "why"],
    (await view.plans()).map((plan) => [
      plan.name,
      plan.spec.owner.name,
      plan.spec.quantity,
      plan.status.quantityNow ?? "",
      readyOf(plan)?.status ?? "",
      readyOf(plan)?.message ?? "",
    ]),
  );
}

async function makePlans(stage: Stage): Promise<void> {
  const { view, narrator } = stage;
  narrator.step("Plans: GPU quotas in weekly windows");
  const plans = view.example("20-plans.yaml");
  for (const object of plans) await view.apply(object);
  const accepted = await view.until("the plans to be accepted", async () => {
    const found = (await view.plans()).filter((plan) => readyOf(plan)?.status === "True");
    return (
      plans.every((object) => found.some(({ name }) => name === object.metadata.name)) && found
    );
  });
  narrator.check(
    accepted.length >= plans.length,
    `accepted: ${names(accepted.map(({ name }) => name))}`,
  );

  narrator.step("PostgreSQL rejects a plan that overlaps another one of the same owner");
  for (const object of view.example("25-overlapping-plan.yaml")) await view.apply(object);
  const refused = await view.until("the overlapping plan to be judged", async () => {
    const plan = (await view.plans()).find(({ name }) => name === "vision-crunch");
    return plan && readyOf(plan) && plan;
  });
  await showPlans(stage);
  const condition = readyOf(refused);
  narrator.check(
    condition?.status === "False" &&
      condition.reason === "PlanOverlap" &&
      condition.message.includes("vision-days"),
    `vision-crunch is rejected: ${condition?.message ?? ""}`,
  );
}

async function commitConfiguration({ view, narrator }: Stage): Promise<void> {
  narrator.step("Configuration: stored once per content, addressed by its hash");
  const [object] = view.example("30-configuration.yaml");
  if (!object) throw new StoryError("examples/30-configuration.yaml holds nothing");
  await view.apply(object);
  const key = keyOf(object);
  const commit = await view.until("the commit to be stored", async () => {
    const raw = await view.client.get(configCommits, key);
    return configCommits.project(raw).status.hash !== undefined && raw;
  });
  const { content } = commit["spec"] as { content: unknown };
  const expected = createHash("sha256")
    .update(canonicalize(content) ?? "")
    .digest("hex");
  const { hash } = configCommits.project(commit).status;
  narrator.check(hash === expected, `${key} has the SHA-256 of its content: ${hash ?? ""}`);
}

async function runJob({ view }: Stage, object: KubeObject): Promise<Job> {
  await view.apply(object);
  const key = keyOf(object);
  return view.until(`job ${key} to run`, async () => {
    const job = await view.job(key);
    return job.status.state === "Running" && job;
  });
}

async function showPods({ view, narrator }: Stage): Promise<Pod[]> {
  const pods = await view.pods();
  const byNode = Map.groupBy(pods, (pod) => pod.nodeName);
  narrator.table(
    ["node", "pods", "GPUs used", "names"],
    [...byNode]
      .toSorted(([one], [other]) => one.localeCompare(other))
      .map(([node, own]) => [node, own.length, gpusOf(own), names(own.map(({ name }) => name))]),
  );
  return pods;
}

async function fillNodes(stage: Stage): Promise<void> {
  const { view, narrator } = stage;
  narrator.step("Low-priority jobs of different sizes fill the nodes");
  for (const object of view.example("40-low-priority-jobs.yaml")) await runJob(stage, object);
  const pods = await showPods(stage);
  narrator.check(
    gpusOf(pods) === gpusOfStory && pods.every(({ phase }) => phase === "Running"),
    `${pods.length} pods use all ${gpusOfStory} GPUs`,
  );
  const gang = new Set(
    pods.filter(({ jobKey }) => jobKey === "speech/sweep").map(({ nodeName }) => nodeName),
  );
  narrator.check(gang.size === 1, `all 4 pods of the gang speech/sweep run on ${names(gang)}`);
  await seePinnedConfiguration(stage, pods);
}

async function seePinnedConfiguration(
  { view, narrator }: Stage,
  pods: readonly Pod[],
): Promise<void> {
  const pod = pods.find(({ jobKey }) => jobKey === "vision/train-large");
  const job = await view.job("vision/train-large");
  const raw = await view.rawPod(`vision/${pod?.name ?? ""}`);
  const { volumes = [] } = raw["spec"] as { volumes?: { configMap?: { name: string } }[] };
  const mounted = volumes.find(({ configMap }) => configMap)?.configMap?.name ?? "";
  const { data, immutable } = (await view.configMap(`vision/${mounted}`)) as {
    data?: Record<string, string>;
    immutable?: boolean;
  };
  const hash = createHash("sha256")
    .update(data?.["config.json"] ?? "")
    .digest("hex");
  narrator.check(
    immutable === true && hash === job.status.configHash,
    `vision/train-large uses configuration ${hash.slice(0, 12)} from the immutable ConfigMap ${mounted}`,
  );
}

async function preempt(stage: Stage): Promise<string[]> {
  const { view, narrator } = stage;
  narrator.step("A high-priority job needs a whole node; none is free");
  const before = await view.pods();
  const byNode = [...Map.groupBy(before, (pod) => pod.nodeName)];
  const fewest = Math.min(...byNode.map(([, own]) => own.length));
  const cheapest = byNode.filter(([, own]) => own.length === fewest).map(([node]) => node);
  narrator.say(`${names(cheapest)} has the fewest pods to evict (${fewest})`);
  for (const object of view.example("50-high-priority-job.yaml")) {
    const job = await runJob(stage, object);
    narrator.say(`${releaseKey} now runs on ${job.status.nodes?.join(", ") ?? ""}`);
  }
  const after = new Set((await view.pods()).map(({ uid }) => uid));
  const gone = before.filter(({ uid }) => !after.has(uid));
  await showPods(stage);
  const nodesOfGone = new Set(gone.map(({ nodeName }) => nodeName));
  narrator.check(
    gone.length === fewest && nodesOfGone.size === 1 && cheapest.includes(names(nodesOfGone)),
    `only the ${gone.length} pods on ${names(nodesOfGone)} were evicted: ${names(gone.map(({ name }) => name))}`,
  );
  const goneKeys = new Set(gone.map(({ jobKey }) => jobKey));
  const others = (await view.jobs()).filter(
    (job) =>
      job.spec.priorityClassName === "rota-low" && !goneKeys.has(`${job.namespace}/${job.name}`),
  );
  narrator.check(
    others.every(({ status }) => status.state === "Running" && status.attempt === 1),
    `the other ${others.length} jobs were not interrupted`,
  );
  return [...new Set(gone.map(({ jobKey }) => jobKey))];
}

async function seeQueue(
  { view, narrator, database }: Stage,
  victims: readonly string[],
): Promise<void> {
  narrator.step("The evicted jobs are queued again; the preemption log has the reason");
  const waiting = await view.until("the victims to wait", async () => {
    const found = (await view.jobs()).filter(
      (job) => job.status.state === "Evicted" && job.status.queuePosition !== undefined,
    );
    return (
      victims.every((key) => found.some((job) => `${job.namespace}/${job.name}` === key)) && found
    );
  });
  narrator.table(
    ["position", "job", "state", "why"],
    waiting
      .toSorted((one, other) => (one.status.queuePosition ?? 0) - (other.status.queuePosition ?? 0))
      .map((job) => [
        job.status.queuePosition ?? "",
        `${job.namespace}/${job.name}`,
        job.status.state ?? "",
        job.status.message ?? "",
      ]),
  );
  const preemptionLog = await database.query<{
    preemptor: string;
    victim: string;
    pods: number;
    nodes: string[];
    rule: string;
    reason: string;
  }>(
    `
    SELECT preemption.preemptor, victim.victim, victim.pods, victim.nodes, victim.rule, preemption.reason
    FROM preemption_victims AS victim
    JOIN preemptions AS preemption ON preemption.id = victim.preemption_id
    ORDER BY preemption.decided_at DESC, victim.victim
    LIMIT $1
  `,
    [victims.length],
  );
  narrator.table(
    ["preemptor", "victim", "pods", "nodes", "rule"],
    preemptionLog.rows.map((row) => [
      row.preemptor,
      row.victim,
      row.pods,
      row.nodes.join(", "),
      row.rule,
    ]),
  );
  for (const reason of new Set(preemptionLog.rows.map((row) => row.reason))) narrator.say(reason);
  const listed = names(preemptionLog.rows.map(({ victim }) => victim));
  narrator.check(listed === names(victims), `queued again and in the preemption log: ${listed}`);
}

async function runAgain(stage: Stage, victims: readonly string[]): Promise<void> {
  const { view, narrator } = stage;
  narrator.step("The high-priority job ends; the evicted jobs start again");
  const release = await view.until(`${releaseKey} to end`, async () => {
    const job = await view.job(releaseKey);
    return job.status.finishedAt !== undefined && job;
  });
  narrator.check(
    release.status.state === "Succeeded",
    `${releaseKey} has ${release.status.state?.toLowerCase() ?? ""}`,
  );
  const back = await view.until("the victims to run again", async () => {
    const found = await Promise.all(victims.map((key) => view.job(key)));
    return found.every(({ status }) => status.state === "Running") && found;
  });
  narrator.table(
    ["job", "state", "attempt", "node"],
    back.map((job) => [
      `${job.namespace}/${job.name}`,
      job.status.state ?? "",
      job.status.attempt ?? "",
      job.status.nodes?.join(", ") ?? "",
    ]),
  );
  narrator.check(
    back.every(({ status }) => (status.attempt ?? 0) > 1),
    "each runs in a new attempt",
  );
  const pods = await view.pods();
  narrator.check(gpusOf(pods) === gpusOfStory, `all ${gpusOfStory} GPUs are in use again`);
}

/** Runs the demo. Throws StoryError if a check fails. */
export async function tellStory(stage: Stage): Promise<void> {
  await clearStage(stage);
  await seeNodes(stage);
  await makeProjects(stage);
  await makePlans(stage);
  await commitConfiguration(stage);
  await fillNodes(stage);
  const victims = await preempt(stage);
  await seeQueue(stage, victims);
  await runAgain(stage, victims);
}
