/** A whole installation on two real nodes: what runs there are processes in containers, no simulation. */
import type { Operator } from "../../../dev/local/operator.ts";
import type { RealNodesSpec } from "../../../dev/local/real-nodes/real-nodes.ts";
import type { RealNode } from "../../../dev/local/real-nodes/real-node.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import {
  applyTeam,
  type Installation,
  owner,
  plan,
  startInstallation,
  teamIsReady,
} from "../../support/installation.ts";

export interface RealInstallation extends Installation {
  readonly first: RealNode;
  readonly second: RealNode;
  /** The operator that runs from the beginning. */
  readonly operator: Operator;
}

export interface RealInstallationOptions {
  /** Default two nodes of 4 GPUs. */
  readonly nodes?: Omit<RealNodesSpec, "count">;
  /** Further ROTA_ variables of the operator. */
  readonly env?: Readonly<Record<string, string>>;
  /** Beyond project team with the priority classes low and high, and a plan for all GPUs. */
  readonly objects?: readonly KubeObject[];
}

export const gpusPerNode = 4;

/** Short, so that a scene sees a lost node within a minute, and long enough for a busy machine. */
const nodeMonitoring = { gracePeriodSeconds: 20, periodSeconds: 2, tolerationSeconds: 15 };

const hasty = {
  ROTA_START_DEADLINE_SECONDS: "45",
  ROTA_AVOID_NODE_SECONDS: "60",
  ROTA_STUCK_POD_SECONDS: "15",
  ROTA_RESERVATION_SECONDS: "60",
};

/** Fulfils when both nodes are ready, the operator leads and project team takes jobs. */
export async function startRealInstallation({
  nodes = {},
  env = {},
  objects = [],
}: RealInstallationOptions = {}): Promise<RealInstallation> {
  const realNodes = { count: 2, gpusPerNode, ...nodes };
  const installation = await startInstallation({ cluster: { realNodes, nodeMonitoring } });
  try {
    return await furnish(installation, { ...hasty, ...env }, objects);
  } catch (error) {
    await installation.stop();
    throw error;
  }
}

async function furnish(
  installation: Installation,
  env: Readonly<Record<string, string>>,
  objects: readonly KubeObject[],
): Promise<RealInstallation> {
  const [first, second] = installation.cluster.realNodes;
  if (!first || !second) throw new Error("the cluster has no two real nodes");
  const operator = await installation.operate(env);
  await applyTeam(installation);
  const all = plan("all", { owner, quantity: 2 * gpusPerNode });
  for (const object of [all, ...objects]) await installation.view.apply(object);
  await teamIsReady(installation);
  return { ...installation, first, second, operator };
}
