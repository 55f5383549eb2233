/**
 * The fixture of most end-to-end tests: an installation with project "team", and operations on its jobs. A job of
 * another project is named NAMESPACE/NAME.
 */
import type { NodeSpec } from "../../dev/local/cluster.ts";
import type { Operator } from "../../dev/local/operator.ts";
import { readyOf } from "../../dev/quickstart/cluster-view.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { jobs, podsOf, type Job, type Pod } from "../../src/resources/types.ts";
import {
  applyTeam,
  type Installation,
  type InstallationOptions,
  job,
  type JobOptions,
  owner,
  plan,
  startInstallation,
} from "./installation.ts";
import { checkInvariants } from "./invariants.ts";

export const podType = podsOf("nvidia.com/gpu");

export type Settings = Readonly<Record<string, string>>;

export interface TeamOptions extends InstallationOptions {
  /** Settings of the first operator. False: the test starts it and waits for it. */
  readonly operator?: Settings | false;
  /** Applied before the operator starts, in addition to the project and the priority classes low and high. */
  readonly objects?: readonly KubeObject[];
  /** The spec of project "team". */
  readonly project?: Readonly<Record<string, unknown>>;
}

export interface PoolOptions extends Partial<Omit<NodeSpec, "pool">> {
  /** The spec of the plan; by default 100 GPUs for the team's owner, the whole week. */
  readonly plan?: Readonly<Record<string, unknown>>;
}

export interface JobRow {
  readonly status: string;
  readonly attempt: number;
  readonly failures: number;
}

export interface Team extends Omit<Installation, "stop"> {
  /** The operator that was started last. */
  readonly operator: Operator;
  /** The installation, for operators beside the team's own. */
  readonly installed: () => Installation;
  /** Resolves when project "team", or another one, is ready. */
  readonly ready: (name?: string) => Promise<unknown>;
  /** Adds a pool of one node with eight GPUs, named POOL-1, and plan all-of-POOL, which grants it to the team. */
  readonly pool: (name: string, options?: PoolOptions) => Promise<void>;
  /** Applies a job; by default one pod with one GPU in pool "default", of priority low. */
  readonly submit: (name: string, options?: Partial<JobOptions>) => Promise<void>;
  /** Applies a job and waits until it runs. */
  readonly run: (name: string, options?: Partial<JobOptions>) => Promise<Job>;
  readonly job: (name: string) => Promise<Job>;
  /** Waits until the job has one of the states. */
  readonly stateOf: (name: string, ...states: readonly string[]) => Promise<Job>;
  /** Waits until the job runs in this attempt. */
  readonly runs: (name: string, attempt: number) => Promise<Job>;
  /** Waits until the job has this reason. */
  readonly reasonOf: (name: string, reason: string) => Promise<Job>;
  /** Waits until a cycle has given the job its queue position and wait reason. */
  readonly waits: (name: string) => Promise<Job>;
  readonly until: (name: string, what: string, is: (found: Job) => boolean) => Promise<Job>;
  readonly suspend: (name: string, value: boolean) => Promise<unknown>;
  /** Deletes the Job and waits until it is gone; its pods may still be terminating. */
  readonly cancel: (name: string) => Promise<unknown>;
  /** The job's pods that have not ended. */
  readonly pods: (name: string) => Promise<Pod[]>;
  /** The uids of these pods, sorted. */
  readonly uids: (name: string) => Promise<string[]>;
  /** Pods on the pool's nodes that have not ended. */
  readonly podsIn: (pool: string) => Promise<Pod[]>;
  /** Annotates a pod of the team: the simulated kubelet acts on it. */
  readonly annotate: (pod: string, annotations: Settings) => Promise<unknown>;
  /** Lets the job's pods terminate that wait for their simulated termination. */
  readonly letGo: (name: string) => Promise<void>;
  /** The job in the database. */
  readonly row: (name: string) => Promise<JobRow | undefined>;
  readonly checkInvariants: () => Promise<void>;
}

export const uidsOf = (pods: readonly Pod[]): string[] => pods.map(({ uid }) => uid).toSorted();

const keyOf = (name: string): string => (name.includes("/") ? name : `team/${name}`);

const split = (key: string): readonly [string, string] => {
  const [namespace = "", name = ""] = key.split("/");
  return [namespace, name];
};

const jobOf = (name: string, asked: Partial<JobOptions> = {}): KubeObject =>
  job(...split(keyOf(name)), { pool: "default", gpus: 1, priorityClassName: "low", ...asked });

/**
 * Registers the hooks that start the installation before the tests of this block and stop it after them; call it within
 * `describe`. The team can be used in later hooks and in tests.
 */
export function useTeam(options: TeamOptions = {}): Team {
  let started: Installation | undefined;
  let operator: Operator | undefined;

  const installation = (): Installation => {
    if (started === undefined) throw new Error("the installation is started by a before hook");
    return started;
  };

  async function start(): Promise<void> {
    started = await startInstallation(options);
    await applyTeam(started, options.project);
    for (const object of options.objects ?? []) await started.view.apply(object);
    if (options.operator === false) return;
    await operate(options.operator);
    await ready();
  }
  const operate: Team["operate"] = async (env, asked) =>
    (operator = await installation().operate(env, asked));
  const ready = (name = "team"): Promise<unknown> =>
    installation().view.until(`project ${name} to be ready`, async () => {
      const found = (await installation().view.projects()).find((entry) => entry.name === name);
      return found && readyOf(found)?.status === "True";
    });

  before(start);
  after(() => started?.stop());

  const jobNamed = (name: string): Promise<Job> => installation().view.job(keyOf(name));
  const until: Team["until"] = (name, what, is) =>
    installation().view.untilJob(keyOf(name), what, is);
  const stateOf: Team["stateOf"] = (name, ...states) =>
    until(name, `be ${states.join(" or ")}`, ({ status }) => states.includes(status.state ?? ""));
  const submit: Team["submit"] = (name, asked) => installation().view.apply(jobOf(name, asked));
  const pods: Team["pods"] = async (name) =>
    (await installation().view.pods()).filter(({ jobKey }) => jobKey === keyOf(name));

  const annotate: Team["annotate"] = (pod, annotations) =>
    installation().view.client.patch(podType, keyOf(pod), { metadata: { annotations } });

  return {
    get view() {
      return installation().view;
    },
    get cluster() {
      return installation().cluster;
    },
    get database() {
      return installation().database;
    },
    get operator() {
      if (operator === undefined) throw new Error("no operator was started");
      return operator;
    },
    installed: installation,
    operate,
    stopOperators: () => installation().stopOperators(),
    ready,
    pool: async (name, { plan: spec, ...nodes } = {}) => {
      await installation().view.apply(plan(`all-of-${name}`, { owner, pool: name, ...spec }));
      await installation().cluster.addNodes({
        count: 1,
        gpus: 8,
        pool: name,
        namePrefix: `${name}-`,
        ...nodes,
      });
    },
    submit,
    run: async (name, asked) => {
      await submit(name, asked);
      return stateOf(name, "Running");
    },
    job: jobNamed,
    stateOf,
    runs: (name, attempt) =>
      until(name, `run in attempt ${attempt}`, ({ status }) => {
        return status.state === "Running" && status.attempt === attempt;
      }),
    reasonOf: (name, reason) =>
      until(name, `have reason ${reason}`, ({ status }) => status.reason === reason),
    waits: (name) =>
      until(name, "be placed in the queue", ({ status }) => status.queuePosition !== undefined),
    until,
    suspend: (name, value) =>
      installation().view.client.patch(jobs, keyOf(name), { spec: { suspend: value } }),
    cancel: (name) => installation().view.remove(jobOf(name)),
    pods,
    uids: async (name) => uidsOf(await pods(name)),
    podsIn: async (pool) =>
      (await installation().view.pods()).filter(({ nodeName }) => nodeName.startsWith(`${pool}-`)),
    annotate,
    letGo: async (name) => {
      for (const pod of await pods(name)) {
        await annotate(`${pod.namespace}/${pod.name}`, {
          "rota.dev/simulate-termination-seconds": "0",
        });
      }
    },
    row: async (name) => {
      const [namespace, own] = split(keyOf(name));
      const { rows } = await installation().database.pool.query<JobRow>(
        "SELECT status::text, attempt, failures FROM jobs WHERE namespace = $1 AND name = $2",
        [namespace, own],
      );
      return rows[0];
    },
    checkInvariants: () => checkInvariants(installation().view, installation().database.pool),
  };
}
