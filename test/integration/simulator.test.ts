/** A night in which the clocks go back, simulated: see test/simulator. `npm run simulate -- --days N` for more. */
import { expect } from "chai";
import { Simulation } from "../simulator/simulation.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { withVirtualTime, type VirtualTime } from "../support/virtual-time.ts";

/** The same night every time; others by SIMULATION_SEED, or by `npm run simulate`. */
const usualSeed = 8;
const seed = Number(process.env["SIMULATION_SEED"] ?? usualSeed);
const days = Number(process.env["SIMULATION_DAYS"] ?? 0.65);

describe("a simulated cluster", function () {
  // A step needs several cycles and checks, and there are hundreds.
  this.timeout(600_000);
  let database: TestDatabase;
  let time: VirtualTime;

  beforeEach(async () => {
    database = await createTestDatabase();
    time = await withVirtualTime(database);
  });
  afterEach(async () => {
    await time.close();
    await database.drop();
  });

  it(`keeps every invariant at every step (SIMULATION_SEED=${seed})`, async () => {
    const simulation = {
      time,
      seed,
      days,
      jobsPerDay: 110,
      timeZone: "Europe/Berlin",
      spares: false,
    };
    const report = await new Simulation(simulation).run();
    expect(report.byStatus).to.include.keys("succeeded", "running");
    // A judge that looks away passes everything: nearly every preemption must have been tried, and there must be some.
    expect(report.allPreemptions).to.be.at.least(Math.floor(10 * days));
    expect(report.preemptions / report.allPreemptions).to.be.at.least(0.8);
    expect(report.proved / report.preemptions).to.be.at.least(0.9);
    expect(report.judgedCycles / report.cycles).to.be.at.least(0.9);
    if (seed === usualSeed) expect(report.preemptions).to.be.at.least(25);
  });

  it("keeps every invariant where budgets protect victims", async () => {
    const simulation = { time, seed: 6, days: 0.25, jobsPerDay: 200, timeZone: "Europe/Berlin" };
    const report = await new Simulation({ ...simulation, spares: true }).run();
    expect(report.spared).to.be.at.least(1);
    expect(report.preemptions).to.be.at.least(10);
  });
});
