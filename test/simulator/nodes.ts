/** Nodes that shrink, are cordoned, leave and come back; and pods of others on them. */
import { deleteNode } from "../../src/db/mirrors/nodes.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import { retry } from "./kubelets.ts";
import { firstNodes, type SimulatedNode, writeOtherUsage, writeNode } from "./topology.ts";
import type { JobRow, Stage } from "./context.ts";

export class Machines {
  readonly #stage: Stage;
  readonly #nodes = new Map<string, SimulatedNode>();
  #mayShrink = false;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  async begin(): Promise<void> {
    const { db, random, timeline } = this.#stage;
    for (const node of firstNodes(random)) {
      this.#nodes.set(node.name, node);
      await writeNode(db, node);
    }
    timeline.often("a node changes", 7200, () => this.change());
    timeline.often("foreign pods come or go", 5400, () => this.#changeOtherUsage());
  }

  /** Whether nodes may have lost room since this was asked last. */
  takeShrunk(): boolean {
    const may = this.#mayShrink;
    this.#mayShrink = false;
    return may;
  }

  /** A node shrinks, is cordoned, leaves for a while, or is as it was. */
  async change(db: Queryable = this.#stage.db): Promise<void> {
    const { random } = this.#stage;
    const node = random.some([...this.#nodes.values()]);
    if (!node) return;
    this.#mayShrink = true;
    const dice = random.whole(0, 3);
    if (dice === 0) return writeNode(db, node, { gpus: Math.max(0, node.gpus - 2) });
    if (dice === 1) return writeNode(db, node, { schedulable: false });
    if (dice === 2) return writeNode(db, node);
    await this.#lose(node);
  }

  /** Its pods are given up a little later, as the operator does it; it is there again some time. */
  async #lose(node: SimulatedNode): Promise<void> {
    const { db, random, timeline } = this.#stage;
    await deleteNode(db, node.name);
    timeline.plan(40, "pods of a lost node are given up", () => this.#giveUp(node.name));
    timeline.plan(random.seconds(3600), "a node comes back", () => writeNode(db, node));
  }

  async #giveUp(node: string): Promise<void> {
    const { rows } = await this.#stage.db.query<JobRow>(
      "SELECT * FROM jobs WHERE id IN (SELECT job_id FROM allocations WHERE node_name = $1) ORDER BY name",
      [node],
    );
    for (const job of rows) await retry(this.#stage.db, job, "PodsLost", false);
  }

  async #changeOtherUsage(): Promise<void> {
    const { db, random } = this.#stage;
    const node = random.some([...this.#nodes.keys()]);
    if (node === undefined) return;
    this.#mayShrink = true;
    const isThere = random.chance(0.6);
    await writeOtherUsage(db, node, {
      gpus: isThere ? random.whole(0, 2) : 0,
      cpuMillis: isThere ? 4000 : 0,
      memoryBytes: 0,
      pods: isThere ? 3 : 0,
    });
  }
}
