/** Failed starts: pauses that grow, nodes that count as one start of three, and the last start. */
import { expect } from "chai";
import { failedStartOf } from "../../../src/controllers/job/failed-starts.ts";

const settings = { startPauseSeconds: 60, maxFailedStarts: 6 };

/** The starts of a job that fail one after another. */
function starts(...causes: readonly ("job" | "node")[]) {
  let counts = { failedStarts: 0, nodeFailures: 0 };
  return causes.map((failedStart) => {
    const found = failedStartOf(counts, { failedStart }, settings);
    if (found === undefined) throw new Error("a failed start has consequences");
    counts = found;
    return found;
  });
}

describe("a start that failed", () => {
  it("because of the job is tried again after 1, 5, 30 and 120 pauses", () => {
    const found = starts("job", "job", "job", "job", "job");
    const pauses = found.map(({ pauseSeconds }) => pauseSeconds / settings.startPauseSeconds);
    expect(pauses).to.deep.equal([1, 5, 30, 120, 120]);
    expect(found.map(({ isLast }) => isLast)).to.deep.equal([false, false, false, false, false]);
  });

  it("is the last one at the maximum", () => {
    const last = starts("job", "job", "job", "job", "job", "job").at(-1);
    expect(last).to.deep.equal({ failedStarts: 6, nodeFailures: 0, pauseSeconds: 0, isLast: true });
  });

  it("because of a node is tried again soon; the third in a row counts as the job's", () => {
    const found = starts("node", "node", "node", "node");
    expect(found.map(({ failedStarts }) => failedStarts)).to.deep.equal([0, 0, 1, 1]);
    expect(found.map(({ nodeFailures }) => nodeFailures)).to.deep.equal([1, 2, 0, 1]);
    expect(found[0]?.pauseSeconds).to.be.at.most(4);
    expect(found[2]?.pauseSeconds).to.equal(60);
  });

  it("because the API server refused its pods is never the last one", () => {
    const found = failedStartOf(
      { failedStarts: 50, nodeFailures: 1 },
      { failedStart: "refused" },
      settings,
    );
    expect(found).to.deep.include({ failedStarts: 51, nodeFailures: 1, isLast: false });
    expect(found?.pauseSeconds).to.be.within(900, 3600);
  });

  it("for neither reason has no consequences", () => {
    expect(failedStartOf({ failedStarts: 1, nodeFailures: 1 }, {}, settings)).to.equal(undefined);
  });
});
