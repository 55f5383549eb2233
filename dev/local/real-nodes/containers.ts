/** Containers of a node as containerd knows them, beside what the API server says. */

export interface Container {
  readonly id: string;
  readonly namespace: string;
  readonly pod: string;
  /** Empty for the sandbox of a pod. */
  readonly name: string;
  /** Of its process, as it is seen in the node. */
  readonly pid: number;
  readonly status: string;
}

type Run = (...command: readonly string[]) => Promise<string>;

interface ContainerInfo {
  readonly Labels?: Readonly<Record<string, string>>;
}

const ctr = ["/opt/node/bin/ctr", "--namespace", "k8s.io"];

/** @param run runs a command in the node */
export async function listContainers(run: Run): Promise<Container[]> {
  const tasks = (await run(...ctr, "tasks", "list")).trim().split("\n").slice(1);
  return Promise.all(tasks.map((line) => describe(run, line)));
}

async function describe(run: Run, task: string): Promise<Container> {
  const [id = "", pid = "", status = ""] = task.trim().split(/\s+/);
  const info: ContainerInfo = JSON.parse(await run(...ctr, "containers", "info", id));
  const label = (name: string): string => info.Labels?.[`io.kubernetes.${name}`] ?? "";
  return {
    id,
    namespace: label("pod.namespace"),
    pod: label("pod.name"),
    name: label("container.name"),
    pid: Number(pid),
    status: status.toLowerCase(),
  };
}
