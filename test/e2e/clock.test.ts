/** An operator whose machine's clock is off: the database's clock counts. */
import { join } from "node:path";
import { expect } from "chai";
import { plan } from "../support/installation.ts";
import { useTeam } from "../support/team.ts";

const shifted = join(import.meta.dirname, "../support/shifted-clock.mjs");
const owner = { kind: "Group", name: "ml" };

for (const shiftSeconds of [360, -360]) {
  describe(`an operator whose clock is off by ${shiftSeconds} s`, () => {
    const env = { NODE_OPTIONS: `--import=${shifted}`, SHIFT_SECONDS: String(shiftSeconds) };
    const team = useTeam({
      operator: env,
      project: { owner },
      objects: [plan("all", { owner, quantity: 8 })],
    });
    const { stateOf } = team;

    before(() => team.cluster.addNodes({ count: 1, gpus: 8 }));

    it("starts jobs at their first attempt, within their plan", async () => {
      await team.submit("one", { gpus: 1, spec: { maxRuntime: "5m" } });
      const { status } = await stateOf("one", "Running");
      expect(status).to.include({ attempt: 1, borrowing: false });
    });

    it("ends a job at its maxRuntime, no earlier", async () => {
      await team.submit("short", { gpus: 1, spec: { maxRuntime: "3s" } });
      const { status } = await stateOf("short", "Failed");
      expect(status).to.include({ reason: "MaxRuntimeExceeded", attempt: 1 });
      const [started, finished] = [status.startedAt, status.finishedAt].map(
        (text) => Temporal.Instant.from(text ?? "").epochMilliseconds,
      );
      expect((finished ?? 0) - (started ?? 0)).to.be.within(2_000, 30_000);
      expect((await team.job("one")).status.state).to.equal("Running");
    });

    it("tries a failed job again when it says", async () => {
      await team.submit("again", { gpus: 1, spec: { backoffLimit: 2 } });
      await stateOf("again", "Running");
      await team.annotate("again-1-0", {
        "rota.dev/simulate-run-seconds": "0",
        "rota.dev/simulate-exit-code": "1",
      });
      await team.runs("again", 2);
    });
  });
}
