/** An admission webhook that fails for evictions in one namespace: its jobs stay, and nobody else waits for them. */
import { expect } from "chai";
import { failingWebhook, refusedUrl, webhooks } from "../support/failing-webhook.ts";
import { owner, project } from "../support/installation.ts";
import { podType, useTeam } from "../support/team.ts";

describe("evictions that the API server refuses", () => {
  const team = useTeam({ objects: [project("guarded", { owner })] });

  const of = { group: "", version: "v1", plural: "pods/eviction" };

  async function refuseEvictionsOf(job: string): Promise<void> {
    const { view } = team;
    const { client } = view;
    await client.create(
      webhooks,
      failingWebhook({ name: "evictions", namespace: "guarded", of, url: refusedUrl }),
    );
    const [pod] = await team.pods(job);
    await view.until("the webhook to be in force", () =>
      client.evict(`guarded/${pod?.name ?? ""}`, { uid: pod?.uid ?? "", dryRun: true }).then(
        () => false,
        () => true,
      ),
    );
  }

  it("leave the job, are told, and stop nobody else", async () => {
    await team.pool("refusing");
    await team.ready("guarded");
    await team.run("guarded/stays", { pool: "refusing", gpus: 8 });
    await refuseEvictionsOf("guarded/stays");
    await team.submit("urgent", { pool: "refusing", gpus: 8, priorityClassName: "high" });
    const { status } = await team.reasonOf("urgent", "EvictionRefused");
    expect(status.message).to.match(/the API server refuses to evict a job of another project$/);
    // Behind it in the queue, and decided after it.
    await team.run("modest", { pool: "refusing", gpus: 0 });
    await team.cluster.addNodes({ count: 1, gpus: 8, pool: "refusing", namePrefix: "refusing-b-" });
    await team.stateOf("urgent", "Running");
    await team.submit("second", { pool: "refusing", gpus: 8, priorityClassName: "high" });
    await team.reasonOf("second", "EvictionRefused");
    expect((await team.job("guarded/stays")).status).to.include({ state: "Running", attempt: 1 });
    const [pod] = await team.pods("guarded/stays");
    expect(
      (await team.view.client.get(podType, `guarded/${pod?.name}`)).metadata,
    ).not.to.have.property("deletionTimestamp");
    await team.view.client.delete(webhooks, "evictions");
    await team.stateOf("second", "Running");
    await team.checkInvariants();
  });
});
