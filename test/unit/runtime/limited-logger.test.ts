import { expect } from "chai";
import { limitedLogger } from "../../../src/runtime/limited-logger.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import type { LogFields } from "../../../src/runtime/logger.ts";
import { createManualClock } from "../../support/manual-clock.ts";

describe("limited logger", () => {
  function setUp() {
    const clock = createManualClock();
    const lines: { readonly message: string; readonly fields: LogFields | undefined }[] = [];
    const error = (message: string, fields?: LogFields) => void lines.push({ message, fields });
    const logger = limitedLogger({ ...silentLogger, error }, clock);
    const fail = (times: number, message = "failed"): void => {
      for (let time = 0; time < times; time += 1) logger.error(message, { key: time });
    };
    return { clock, lines, fail };
  }

  it("limits a message per period, and reports the suppressed count", async () => {
    const { clock, lines, fail } = setUp();
    fail(1000);
    expect(lines).to.have.lengthOf(20);
    await clock.advance(9);
    fail(1000);
    expect(lines).to.have.lengthOf(20);
    await clock.advance(1);
    fail(2);
    expect(lines.slice(20)).to.deep.equal([
      { message: "failed", fields: { key: 0, unlogged: 1980 } },
      { message: "failed", fields: { key: 1 } },
    ]);
  });

  it("holds one message back for its own sake only", () => {
    const { lines, fail } = setUp();
    fail(1000);
    fail(1, "other");
    expect(lines.at(-1)).to.deep.equal({ message: "other", fields: { key: 0 } });
  });
});
