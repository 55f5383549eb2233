/** A PodDisruptionBudget protects jobs within quota without limit, and borrowers for a while. */
import { expect } from "chai";
import { useTeam } from "../support/team.ts";

const budgets = "/apis/policy/v1/namespaces/team/poddisruptionbudgets";

describe("a PodDisruptionBudget of a borrower", () => {
  const team = useTeam({ operator: { ROTA_MAX_BUDGET_DELAY_SECONDS: "20" } });

  async function protect(job: string): Promise<void> {
    const { client } = team.view;
    await client.raw("POST", budgets, {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: `keep-${job}` },
      spec: { minAvailable: 1, selector: { matchLabels: { "rota.dev/job": job } } },
    });
    await team.view.until(`budget keep-${job} to be known`, async () => {
      const found = (await client.raw("GET", `${budgets}/keep-${job}`)) as {
        status?: { currentHealthy?: number };
      };
      return found.status?.currentHealthy === 1;
    });
  }

  it("delays its eviction, and is named when the pods are deleted", async () => {
    await team.pool("past", { plan: { quantity: 4 } });
    await team.run("borrows", { pool: "past", gpus: 8, priorityClassName: "high" });
    await protect("borrows");
    await team.submit("wants", { pool: "past", gpus: 4 });
    const waits = await team.reasonOf("wants", "BlockedByDisruptionBudget");
    expect(waits.status.message).to.include("team/keep-borrows");
    await team.stateOf("wants", "Running");
    const evicted = await team.stateOf("borrows", "Evicted");
    expect(evicted.status.message).to.include("Evicted by team/wants");
    const { rows } = await team.database.pool.query(
      "SELECT past_budget, outcome, rule FROM preemption_victims WHERE victim = 'team/borrows'",
    );
    expect(rows).to.deep.equal([
      { past_budget: "team/keep-borrows", outcome: "Evicted", rule: "BorrowerReclaimed" },
    ]);
    await team.view.until("the Event to name the budget", async () => {
      const path = "/apis/events.k8s.io/v1/namespaces/team/events";
      const { items } = (await team.view.client.raw("GET", path)) as {
        readonly items: readonly { readonly note?: string }[];
      };
      return items.some(
        ({ note = "" }) =>
          note.includes("past its disruption budget") &&
          note.includes("PodDisruptionBudget team/keep-borrows had delayed the eviction"),
      );
    });
    await team.checkInvariants();
  });
});
