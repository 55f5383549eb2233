/** The start deadline begins where the last init container was seen to end. */
import { expect } from "chai";
import { StartClock } from "../../../src/controllers/job/start-clock.ts";
import type { Pod } from "../../../src/resources/types.ts";
import { createManualClock } from "../../support/manual-clock.ts";

const pod = (startPhase: Pod["startPhase"]): Pod => ({ startPhase }) as unknown as Pod;
const initializes = [pod("Other"), pod("Initializing")];
const pulls = [pod("Other"), pod("WrongTemplate")];

describe("the start deadline", () => {
  it("begins with the attempt where no init container ran", async () => {
    const clock = createManualClock();
    const startedAt = clock.now();
    await clock.advance(500);
    expect(new StartClock(clock).beginsAt("job", startedAt, pulls)).to.equal(startedAt);
  });

  it("begins at the end of the init containers", async () => {
    const clock = createManualClock();
    const startedAt = clock.now();
    const starts = new StartClock(clock);
    expect(starts.beginsAt("job", startedAt, initializes)).to.equal(undefined);
    await clock.advance(3600);
    const ended = clock.now();
    expect(starts.beginsAt("job", startedAt, pulls)?.equals(ended)).to.equal(true);
    await clock.advance(60);
    expect(starts.beginsAt("job", startedAt, pulls)?.equals(ended)).to.equal(true);
    const again = clock.now();
    expect(starts.beginsAt("job", again, pulls)?.equals(again), "the next attempt").to.equal(true);
  });
});
