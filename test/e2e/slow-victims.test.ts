/** Victims that need long to terminate, and one that never does: who is evicted for whom, and how often. */
import { expect } from "chai";
import { useTeam } from "../support/team.ts";

const onWholeNode = (graceSeconds: number, terminationSeconds: number) => ({
  template: {
    metadata: {
      annotations: { "rota.dev/simulate-termination-seconds": String(terminationSeconds) },
    },
    spec: {
      terminationGracePeriodSeconds: graceSeconds,
      containers: [{ name: "a", image: "a", resources: { limits: { "nvidia.com/gpu": "8" } } }],
    },
  },
});

describe("victims that leave slowly", () => {
  const team = useTeam({
    operator: { ROTA_RESERVATION_SECONDS: "2", ROTA_STUCK_POD_SECONDS: "2" },
  });
  const names = ["one", "two", "three"] as const;
  const nameIn = (pool: string) => (name: string) => `${pool}-${name}`;

  async function fill(pool: string, spec: Readonly<Record<string, unknown>>): Promise<void> {
    await team.pool(pool, { count: 3 });
    for (const name of names.map(nameIn(pool))) await team.run(name, { pool, spec });
  }

  const statesIn = (pool: string) =>
    Promise.all(
      names.map(nameIn(pool)).map(async (name) => (await team.job(name)).status.state ?? ""),
    );

  const isTrue = (sql: string, values: readonly unknown[]) => async (): Promise<boolean> => {
    const { rows } = await team.database.pool.query<{ is: boolean }>(sql, [...values]);
    return rows[0]?.is === true;
  };

  it("keep their place for the preemptor as long as they may take", async () => {
    await fill("slow", onWholeNode(600, 600));
    await team.submit("urgent", { pool: "slow", gpus: 8, priorityClassName: "high" });
    await team.stateOf("urgent", "Reserved");
    await team.view.until(
      "the reservation's own time to be over, and the victim to be asked",
      isTrue(
        `SELECT bool_and(expires_at < now()) AND bool_and(victim.asked_grace_seconds = 600) AS is
         FROM reservations JOIN allocations AS own USING (node_name) JOIN jobs AS victim ON victim.id = own.job_id
         WHERE victim.pool = $1`,
        ["slow"],
      ),
    );
    await team.submit("witness", { pool: "slow", gpus: 8, spec: { borrowing: "Never" } });
    await team.waits("witness");
    expect((await team.job("urgent")).status.state, "not given up").to.equal("Reserved");
    const states = await statesIn("slow");
    expect(states.filter((state) => state === "Running")).to.have.length(2);
    for (const name of names.map(nameIn("slow"))) await team.letGo(name);
    await team.stateOf("urgent", "Running");
    await team.checkInvariants();
  });

  it("do not keep another from evicting elsewhere once they are overdue", async () => {
    await fill("stuck", onWholeNode(1, 86_400));
    await team.submit("first", { pool: "stuck", gpus: 8, priorityClassName: "high" });
    await team.view.until("a victim to be asked to leave", async () =>
      (await statesIn("stuck")).includes("Evicting"),
    );
    await team.cancel("first");
    await team.submit("second", { pool: "stuck", gpus: 8, priorityClassName: "high" });
    await team.view.until("two victims to be asked to leave", async () => {
      const states = await statesIn("stuck");
      return states.filter((state) => state === "Evicting").length === 2;
    });
    for (const name of names.map(nameIn("stuck"))) await team.letGo(name);
    await team.stateOf("second", "Running");
    expect(await statesIn("stuck")).to.include("Running");
    await team.checkInvariants();
  });
});
