import { expect } from "chai";
import { Arrivals, arrivalSeconds } from "../../../src/controllers/job/arrivals.ts";
import { createManualClock } from "../../support/manual-clock.ts";

describe("a job that refers to an object which may be on its way", () => {
  it("is left alone for seconds; other refusals are not", async () => {
    const clock = createManualClock();
    const arrivals = new Arrivals(clock);
    expect(arrivals.secondsLeft("a", "TemplateRejected")).to.equal(0);
    expect(arrivals.secondsLeft("a", "NoProject")).to.equal(arrivalSeconds);
    await clock.advance(2);
    expect(arrivals.secondsLeft("a", "ConfigNotFound")).to.equal(arrivalSeconds - 2);
    await clock.advance(arrivalSeconds);
    expect(arrivals.secondsLeft("a", "NoProject")).to.equal(0);
    expect(arrivals.secondsLeft("b", "NoProject")).to.equal(arrivalSeconds);
  });
});
