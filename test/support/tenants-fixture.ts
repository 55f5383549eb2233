/**
 * The common fixture of tests about what users may see and ask: project lab with the teams team and other as children,
 * a pool blue, and users in every role: val views team, ann is its admin, a ServiceAccount (robot) views other.
 */
import type { Operator } from "../../dev/local/operator.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { tokenOf } from "./api-client.ts";
import {
  job,
  owner,
  priorityClass,
  project,
  teamIsReady,
  teamJobIs,
  type Installation,
} from "./installation.ts";

const robot = { namespace: "default", name: "default" };

export const robotToken = ({ view }: Installation): Promise<string> => tokenOf(view.client, robot);

const user = (name: string, role: string) => ({ kind: "User", name, role });

/** Resolves when the operator runs and team is ready. */
export async function setUpTenants(
  installation: Installation,
  plans: readonly KubeObject[],
): Promise<Operator> {
  const { view, cluster } = installation;
  await cluster.addNodes({ count: 2, gpus: 8, pool: "blue", namePrefix: "blue-" });
  const robotName = `system:serviceaccount:${robot.namespace}:${robot.name}`;
  for (const object of [
    priorityClass("lowest", 5),
    priorityClass("low", 10),
    priorityClass("high", 1000),
    project("lab"),
    project("team", {
      parent: "lab",
      owner,
      members: [user("val", "viewer"), user("ann", "admin")],
    }),
    project("other", { parent: "lab", members: [user(robotName, "viewer")] }),
    ...plans,
  ]) {
    await view.apply(object);
  }
  const operator = await installation.operate();
  await teamIsReady(installation);
  return operator;
}

/** Jobs a and b of team run, with this number of GPUs each; c of team and then d of other do not fit. */
export async function fillTenants(
  installation: Installation,
  gpus: { readonly running: number; readonly waiting: number },
): Promise<void> {
  const { view } = installation;
  const submit = (namespace: string, name: string, priorityClassName: string, count: number) =>
    view.apply(job(namespace, name, { pool: "blue", gpus: count, priorityClassName }));
  for (const name of ["a", "b"]) {
    await submit("team", name, "low", gpus.running);
    await teamJobIs(installation, name, "Running");
  }
  await submit("team", "c", "low", gpus.waiting);
  await submit("other", "d", "lowest", 4);
  await teamJobIs(installation, "c", "Pending");
  await view.until("d to queue", async () => (await view.job("other/d")).status.queuePosition);
}
