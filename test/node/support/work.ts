/** Jobs whose pods run the program `work` (dev/go-tools/node/work), and what becomes of them. */
import { workImage } from "../../../dev/local/real-nodes/programs.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import type { Job } from "../../../src/resources/types.ts";
import { type Installation, job, teamJobIs } from "../../support/installation.ts";
import { kubectl, type Output, read } from "../../support/kubectl.ts";

/** What `work` does: see the head of dev/go-tools/node/work/main.go. */
export type WorkVariables = Partial<
  Record<
    | "WORK_STEPS"
    | "WORK_STEP_MILLISECONDS"
    | "WORK_EXIT"
    | "WORK_ALLOCATE_MIB"
    | "WORK_CHECKPOINT"
    | "WORK_ON_TERM"
    | "WORK_SAVE_MILLISECONDS"
    | "WORK_TERM_EXIT"
    | "WORK_RENDEZVOUS_PORT"
    | "WORK_RENDEZVOUS_SECONDS",
    string | number
  >
>;

export interface WorkOptions extends WorkVariables {
  /** Of each pod; default 1. */
  readonly gpus?: number;
  /** Pods of the gang; default 1. */
  readonly pods?: number;
  readonly cpu?: string;
  readonly memory?: string;
  readonly priorityClassName?: string;
  readonly graceSeconds?: number;
  /** Fields of the container, of the pod's spec and of the Job's spec. */
  readonly container?: Readonly<Record<string, unknown>>;
  readonly pod?: Readonly<Record<string, unknown>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** A Job of project team. Without WORK_STEPS it runs until it is ended. */
export function workJob(name: string, options: WorkOptions = {}): KubeObject {
  const { gpus = 1, pods = 1, cpu = "50m", memory = "64Mi", priorityClassName = "low" } = options;
  const { graceSeconds = 10, container = {}, pod = {}, spec = {} } = options;
  const limits = { cpu, memory, ...(gpus === 0 ? {} : { "nvidia.com/gpu": gpus }) };
  const main = {
    name: "main",
    image: workImage,
    env: variablesOf(options),
    resources: { limits },
    ...container,
  };
  const podSpec = { containers: [main], terminationGracePeriodSeconds: graceSeconds, ...pod };
  return job("team", name, {
    gpus,
    pool: "default",
    priorityClassName,
    parallelism: pods,
    spec: { template: { spec: podSpec }, ...spec },
  });
}

const variablesOf = (options: WorkOptions) =>
  Object.entries(options)
    .filter(([name]) => name.startsWith("WORK_"))
    .map(([name, value]) => ({ name, value: String(value) }));

/** Submits the job and waits until it is in one of the states. */
export async function runWork(
  installation: Installation,
  name: string,
  options: WorkOptions,
  ...states: string[]
): Promise<Job> {
  await installation.view.apply(workJob(name, options));
  return teamJobIs(installation, name, ...states);
}

export interface ContainerState {
  readonly running?: { readonly startedAt: string };
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

export interface RawPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly restartCount: number;
      readonly state: ContainerState;
    }[];
  };
}

/** Pods of the team's job, of all attempts that are still there, by name. */
export async function podsOf({ cluster }: Installation, name: string): Promise<RawPod[]> {
  const selector = `--selector=rota.dev/job=${name}`;
  const list = await read<{ items: RawPod[] }>(cluster, "pods", "--namespace=team", selector);
  return list.items.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** The pod of the team's job; fails when there is not one. */
export async function podOf(installation: Installation, name: string): Promise<RawPod> {
  const [pod, ...others] = await podsOf(installation, name);
  if (!pod || others.length > 0) throw new Error(`job ${name} has not one pod`);
  return pod;
}

export const stateOf = (pod: RawPod, container = "main"): ContainerState | undefined =>
  pod.status.containerStatuses?.find(({ name }) => name === container)?.state;

/** What a pod of project team wrote. */
export const logsOf = async ({ cluster }: Installation, pod: string): Promise<string> =>
  (await kubectl(cluster, "logs", "--namespace=team", pod)).stdout;

/** Waits until the log of a pod of project team says so. */
export const untilLogged = (
  installation: Installation,
  pod: string,
  text: string,
): Promise<unknown> =>
  installation.view.until(`${pod} to log "${text}"`, async () =>
    (await logsOf(installation, pod)).includes(text),
  );

/** Runs `work` with these arguments in a pod of project team. */
export const execIn = (
  { cluster }: Installation,
  pod: string,
  ...args: readonly string[]
): Promise<Output> => kubectl(cluster, "exec", "--namespace=team", pod, "--", "/bin/work", ...args);
