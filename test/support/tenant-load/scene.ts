/**
 * Invariant 8: one tenant at its worst, and another one whose jobs must not feel it. The greedy tenant has jobs that wait
 * on room that its own job holds, half of them as gangs of the whole pool, half on a quota that is used up, in many
 * signatures; then it floods the HTTP API. The calm tenant submits one small job after another.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { readSamples, type Sample } from "../../../bench/engine/samples.ts";
import type { Operator } from "../../../dev/local/operator.ts";
import { waitFor } from "../../../dev/local/wait.ts";
import { readyOf } from "../../../dev/quickstart/cluster-view.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { jobs } from "../../../src/resources/types.ts";
import { each } from "../../../src/runtime/parallel.ts";
import { ask, tokenOf, withToken } from "../api-client.ts";
import { job, plan, priorityClass, project, type Installation } from "../installation.ts";
import type { FloodOrder, FloodReport } from "./flood.ts";

const greedy = "greedy";
const calm = "calm";
const nodes = 10;
const gpusPerNode = 8;
const submittersAtOnce = 16;
const pollMillis = 20;
const patienceMs = 120_000;

const account = (namespace: string): string => `system:serviceaccount:${namespace}:default`;

/** Nodes, classes, projects and plans; resolves when the tenants' projects are ready and the greedy one's job runs. */
export async function setUpTenancy({ view, cluster }: Installation): Promise<void> {
  await cluster.addNodes({ count: nodes, gpus: gpusPerNode });
  await view.apply(priorityClass("low", 10));
  for (const [name, quantity] of [
    [greedy, gpusPerNode],
    [calm, 4 * gpusPerNode],
  ] as const) {
    const owner = { kind: "User", name: `owner-of-${name}` };
    const member = { kind: "User", name: account(name), role: "viewer" };
    await view.apply(project(name, { owner, members: [member] }));
    await view.apply(plan(`of-${name}`, { owner, quantity }));
  }
  await view.until("both projects to be ready", async () => {
    const found = await view.projects();
    return found.length === 2 && found.every((one) => readyOf(one)?.status === "True");
  });
  await view.untilJob(
    await submitted(view, greedyJob("holds", { gpus: gpusPerNode })),
    "run",
    ({ status }) => status.state === "Running",
  );
}

const greedyJob = (name: string, options: { gpus: number; parallelism?: number; cpu?: string }) =>
  job(greedy, name, { pool: "default", priorityClassName: "low", ...options });

async function submitted(view: Installation["view"], object: KubeObject): Promise<string> {
  await view.apply(object);
  return `${object.metadata.namespace ?? ""}/${object.metadata.name ?? ""}`;
}

export interface GreedyJobs {
  readonly jobs: number;
  readonly signatures: number;
  /** Characters in the environment of each template, to make it larger. */
  readonly padding?: number;
}

function waitingJob(index: number, { signatures, padding = 0 }: GreedyJobs): KubeObject {
  const signature = index % signatures;
  const cpu = `${100 + signature}m`;
  const whole = signature % 2 === 0;
  const size = whole ? { gpus: gpusPerNode, parallelism: nodes } : { gpus: 1 };
  const made = greedyJob(`waits-${index}`, { ...size, cpu });
  const spec = made["spec"] as {
    template: { metadata: { annotations: Record<string, string> } };
    borrowing?: string;
  };
  if (!whole) spec.borrowing = "Never";
  if (padding > 0) spec.template.metadata.annotations["padding"] = "x".repeat(padding);
  return made;
}

/** Submits until all jobs exist, or time is up; returns how many exist. */
export async function submitGreedyJobs(
  { view }: Installation,
  asked: GreedyJobs,
  maxSeconds: number,
): Promise<number> {
  const until = performance.now() + maxSeconds * 1000;
  const indices = Array.from({ length: asked.jobs }, (_, index) => index);
  let made = 0;
  await each(indices, submittersAtOnce, async (index) => {
    if (performance.now() > until) return;
    await view.client.create(jobs, waitingJob(index, asked));
    made += 1;
  });
  return made;
}

/** Resolves when that many jobs are in the queue, and the operator has reported it in their statuses. */
export async function greedyJobsWait(
  installation: Installation,
  operator: Operator,
  count: number,
  maxSeconds: number,
): Promise<void> {
  const options = { timeoutMs: maxSeconds * 1000, intervalMs: 500 };
  await waitFor(async () => (await greedyJobsQueued(installation)) === count, {
    what: `${count} jobs of the greedy tenant to be queued`,
    ...options,
  });
  await waitFor(async () => (await unfinishedKeys(operator)) === 0, {
    what: "their statuses to be written",
    ...options,
  });
}

/** Jobs that the operator has yet to reconcile. */
async function unfinishedKeys({ url }: Operator): Promise<number> {
  const samples = readSamples(await (await fetch(`${url}/metrics`)).text());
  const isDepth = ({ name, labels }: Sample): boolean =>
    name === "rota_workqueue_depth" && labels["name"] === "job";
  const depth = samples.find(isDepth);
  if (depth === undefined) throw new Error("no metric rota_workqueue_depth of jobs");
  return depth.value;
}

/** How many of the greedy tenant's jobs are in the queue. */
export async function greedyJobsQueued({ database }: Installation): Promise<number> {
  const { rows } = await database.pool.query<{ count: number }>(
    "SELECT count(*)::int AS count FROM jobs WHERE namespace = $1 AND job_is_waiting(status)",
    [greedy],
  );
  return rows[0]?.count ?? 0;
}

export interface CalmSample {
  /** From the submission. */
  readonly statusMillis: number;
  readonly runningMillis: number;
  /** Of two requests to the HTTP API meanwhile. */
  readonly queueMillis: number;
  readonly whoamiMillis: number;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

export class CalmTenant {
  readonly #installation: Installation;
  readonly #operator: Operator;
  readonly #token: string;
  #count = 0;

  private constructor(installation: Installation, operator: Operator, token: string) {
    this.#installation = installation;
    this.#operator = operator;
    this.#token = token;
  }

  static async of(installation: Installation, operator: Operator): Promise<CalmTenant> {
    return new CalmTenant(installation, operator, await tokenFor(installation, calm));
  }

  /** One job of one pod from its submission until it runs; it is gone again afterwards. */
  async sample(): Promise<CalmSample> {
    const { view } = this.#installation;
    this.#count += 1;
    const name = `small-${this.#count}`;
    const object = job(calm, name, {
      pool: "default",
      gpus: 1,
      cpu: "100m",
      priorityClassName: "low",
    });
    const started = performance.now();
    await view.client.create(jobs, object);
    const until = async (state: RegExp) => {
      await waitFor(
        async () => {
          const found = jobs.project(await view.client.get(jobs, `${calm}/${name}`));
          return state.test(found.status.state ?? "");
        },
        { what: `${name} to be ${state}`, timeoutMs: patienceMs, intervalMs: pollMillis },
      );
      return performance.now() - started;
    };
    const statusMillis = await until(/./);
    const runningMillis = await until(/^Running$/);
    const queueMillis = await timed(() => this.#get("/api/v1/queue?pool=default&limit=50"));
    const whoamiMillis = await timed(() => this.#get("/api/v1/whoami"));
    await view.remove(object);
    return { statusMillis, runningMillis, queueMillis, whoamiMillis };
  }

  async #get(target: string): Promise<void> {
    const { status, body } = await ask(this.#operator.apiUrl, target, withToken(this.#token));
    if (status !== 200) throw new Error(`${target} answered ${status}: ${JSON.stringify(body)}`);
  }
}

const tokenFor = ({ view }: Installation, namespace: string): Promise<string> =>
  tokenOf(view.client, { namespace, name: "default" });

/** Floods the API in the greedy tenant's name until the result is called. */
export async function flood(
  installation: Installation,
  operator: Operator,
  perSecond: number,
): Promise<() => Promise<FloodReport>> {
  const order: FloodOrder = {
    apiUrl: operator.apiUrl,
    target: "/api/v1/queue?pool=default&limit=50",
    token: await tokenFor(installation, greedy),
    perSecond,
  };
  const worker = new Worker(new URL("flood.ts", import.meta.url), { workerData: order });
  return async () => {
    worker.postMessage("stop", []);
    const [report] = (await once(worker, "message")) as [FloodReport];
    await worker.terminate();
    return report;
  };
}
