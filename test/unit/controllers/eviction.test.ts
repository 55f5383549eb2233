import { expect } from "chai";
import { blockedSeconds } from "../../../src/controllers/job/eviction.ts";

describe("an eviction blocked by a budget", () => {
  it("is retried with doubling, jittered pauses up to 30 s", () => {
    const longest = [0, 2, 6, 14, 30, 3600].map((age) => blockedSeconds(age, () => 1));
    expect(longest).to.deep.equal([2, 4, 8, 16, 30, 30]);
    expect(blockedSeconds(3600, () => 0)).to.equal(15);
    expect(blockedSeconds(-1, () => 0)).to.equal(1);
  });
});
