/** An admission webhook of one namespace that refuses evictions: its jobs stay, and the others do not wait for it. */
import { project } from "../support/installation.ts";
import { failingWebhook, refusedUrl, webhooks } from "../support/failing-webhook.ts";
import { useTeam } from "../support/team.ts";

const evictions = { group: "", version: "v1", plural: "pods/eviction" } as const;

describe("a webhook that refuses evictions", () => {
  const team = useTeam({ objects: [project("closed", {})] });

  it("keeps no other job from starting", async () => {
    await team.ready("closed");
    await team.pool("shared", { plan: { quantity: 16 } });
    await team.run("closed/stays", { pool: "shared", gpus: 8 });
    const [pod] = await team.pods("closed/stays");
    const name = "no-evictions";
    const { client } = team.view;
    await client.create(
      webhooks,
      failingWebhook({ name, namespace: "closed", of: evictions, url: refusedUrl }),
    );
    await team.view.until("the webhook to be in force", () =>
      client.evict(`closed/${pod?.name}`, { uid: pod?.uid ?? "", dryRun: true, attempts: 1 }).then(
        () => false,
        () => true,
      ),
    );
    await team.submit("wants", { pool: "shared", gpus: 8 });
    await team.reasonOf("wants", "BlockedByDisruptionBudget");
    await team.run("behind", { pool: "shared", gpus: 0 });
    await client.delete(webhooks, name);
    await team.stateOf("wants", "Running");
    await team.stateOf("closed/stays", "Evicted");
    await team.checkInvariants();
  });
});
