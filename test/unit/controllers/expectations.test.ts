import { expect } from "chai";
import { PodExpectations, maxLagSeconds } from "../../../src/controllers/job/expectations.ts";
import { createManualClock } from "../../support/manual-clock.ts";

describe("expectations of pods", () => {
  it("are kept until the cache shows the pods", () => {
    const pods = new PodExpectations(createManualClock());
    pods.asked("uid", "train-1-0");
    expect(pods.has("uid", "train-1-0")).to.equal(true);
    expect(pods.has("another", "train-1-0")).to.equal(false);
    pods.forget("uid", "train-1-0");
    expect(pods.has("uid", "train-1-0")).to.equal(false);
  });

  it("expire after a while", async () => {
    const clock = createManualClock();
    const pods = new PodExpectations(clock);
    pods.asked("uid", "train-1-0");
    pods.asked("uid", "train-1-1");
    await clock.advance(maxLagSeconds / 2);
    pods.asked("uid", "train-1-0");
    await clock.advance(maxLagSeconds / 2);
    expect(pods.has("uid", "train-1-1")).to.equal(false);
    expect(pods.has("uid", "train-1-0")).to.equal(true);
    pods.asked("uid", "train-1-2");
    expect(pods.size).to.equal(2);
  });
});
