import { expect } from "chai";
import { recheckSeconds } from "../../../src/controllers/job/rejection.ts";
import type { Job } from "../../../src/resources/types.ts";

describe("a rejected job", () => {
  const rejectedAt = Temporal.Instant.from("2026-06-01T00:00:00Z");
  const stalled = { type: "Stalled", lastTransitionTime: rejectedAt.toString() };
  const job = (conditions: readonly object[]) => ({ status: { conditions } }) as unknown as Job;
  const after = (seconds: number) => recheckSeconds(job([stalled]), rejectedAt.add({ seconds }));

  it("is judged again at growing intervals, up to a maximum", () => {
    expect([0, 29, 30, 60, 120, 599, 100_000].map(after)).to.deep.equal([
      30, 30, 30, 60, 120, 599, 600,
    ]);
    expect(recheckSeconds(job([]), rejectedAt)).to.equal(30);
  });
});
