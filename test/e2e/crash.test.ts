/**
 * The operator kills itself at a named point in the midst of work, and the next one again while it finishes that: the one
 * after it finishes, and nothing is done twice.
 */
import { expect } from "chai";
import { crashPointsToTry } from "../support/crash-points.ts";
import { commit, type JobOptions } from "../support/installation.ts";
import { watchInvariants } from "../support/sampler.ts";
import { useTeam } from "../support/team.ts";

describe("an operator killed at a crash point", function () {
  const team = useTeam();
  let round = 0;
  let secondCrashes = 0;

  before(async () => {
    await team.view.apply(commit("first", { content: { rate: 1 }, tag: "v1" }));
    await team.operator.stop();
  });

  /**
   * Whoever watches over operators starts the next one at once. This one is killed as well where it comes to the point
   * often enough, perhaps before it is ready.
   */
  async function succeed(crashPoint: string): Promise<void> {
    const ended = await team.operate({ ROTA_CRASH_POINT: crashPoint }).then(
      (operator) => operator.ended,
      () => "SIGKILL",
    );
    if (ended !== "SIGKILL") return;
    secondCrashes += 1;
    await team.operate();
  }

  for (const crashPoint of crashPointsToTry) {
    it(`at "${crashPoint}" loses and repeats nothing`, async () => {
      const { view, database } = team;
      const pool = `round-${(round += 1)}`;
      await team.pool(pool);
      const sampler = watchInvariants(view, database.pool);
      const crashing = await team.operate({ ROTA_CRASH_POINT: crashPoint });
      const successor = crashing.ended.then(() => succeed(`${crashPoint}:${1 + (round % 2)}`));
      const name = (short: string): string => `${pool}-${short}`;
      const submit = (short: string, options: Partial<JobOptions>) =>
        team.submit(name(short), { pool, ...options });
      const stateOf = (short: string, state: string) => team.stateOf(name(short), state);
      const ends = (exitCode: number) => ({
        "rota.dev/simulate-run-seconds": "1",
        "rota.dev/simulate-exit-code": String(exitCode),
      });

      await submit("gang", { gpus: 2, parallelism: 2, spec: { configRef: { tag: "v1" } } });
      await submit("done", { annotations: ends(0) });
      await submit("fails", { annotations: ends(3) });
      await submit("gone", {});
      await Promise.all([
        stateOf("gang", "Running"),
        stateOf("gone", "Running"),
        stateOf("done", "Succeeded"),
        stateOf("fails", "Failed"),
      ]);
      await team.cancel(name("gone"));
      await submit("urgent", { gpus: 8, priorityClassName: "high" });
      await stateOf("urgent", "Running");
      await stateOf("gang", "Evicted");
      await view.until("the deleted job to be cancelled", async () => {
        return (await team.row(name("gone")))?.status === "cancelled";
      });

      expect(await crashing.ended, `${crashPoint} was reached`).to.equal("SIGKILL");
      expect(await sampler.stop(), "looks at the invariants").to.be.at.least(2);
      await team.checkInvariants();
      const { rows: attempts } = await database.pool.query(
        "SELECT name, attempt, failures FROM jobs WHERE pool = $1 ORDER BY name",
        [pool],
      );
      expect(attempts).to.deep.equal([
        { name: name("done"), attempt: 1, failures: 0 },
        { name: name("fails"), attempt: 1, failures: 1 },
        { name: name("gang"), attempt: 1, failures: 0 },
        { name: name("gone"), attempt: 1, failures: 0 },
        { name: name("urgent"), attempt: 1, failures: 0 },
      ]);
      const { rows: preemptionLog } = await database.pool.query(
        `SELECT victim, victim_attempt, victim.outcome AS left, preemption.outcome AS preemptor
         FROM preemption_victims AS victim JOIN preemptions AS preemption ON preemption.id = preemption_id
         WHERE pool = $1`,
        [pool],
      );
      expect(preemptionLog).to.deep.equal([
        {
          victim: `team/${name("gang")}`,
          victim_attempt: 1,
          left: "Evicted",
          preemptor: "Started",
        },
      ]);
      // Nothing is left over which the next round's operator could stumble before it is ready.
      for (const short of ["gang", "urgent"]) await team.cancel(name(short));
      await view.until("the rest to be cancelled", async () => {
        const { rows } = await database.pool.query(
          "SELECT FROM jobs WHERE active_project_id IS NOT NULL",
        );
        return rows.length === 0;
      });
      await team.stopOperators();
      await successor;
      // One that was killed at the very end has a successor that was not up yet.
      await team.stopOperators();
    });
  }

  // How much is left to do for the second one depends on when the first was killed.
  it("is killed a second time at several of them", () => {
    console.log(`      ${secondCrashes} of ${crashPointsToTry.length} killed again`);
    expect(secondCrashes).to.be.at.least(crashPointsToTry.length / 3);
  });
});
