import { expect } from "chai";
import { RotaError } from "../../../src/errors.ts";
import { retryUntilReady } from "../../../src/operator/start-tries.ts";
import { silentLogger } from "../../../src/runtime/logger.ts";
import { createManualClock } from "../../support/manual-clock.ts";

const unavailable = () => Promise.reject(new RotaError("DatabaseUnavailable", "ECONNREFUSED"));

describe("a new operator", () => {
  const start = (action: () => Promise<string>) => {
    const clock = createManualClock();
    const stop = new AbortController();
    const tries = { clock, logger: silentLogger, stopping: stop.signal };
    const outcome = retryUntilReady("cannot use the database", tries, action).catch(String);
    return { clock, stop, outcome };
  };

  it("waits for its database through an outage", async () => {
    let turn = 0;
    const { clock, outcome } = start(() => {
      turn += 1;
      return turn > 360 ? Promise.resolve("ready") : unavailable();
    });
    await clock.settle();
    for (let second = 0; second < 3600; second += 10) await clock.advance(10);
    expect(await outcome).to.equal("ready");
  });

  it("ends where waiting does not help", async () => {
    const { outcome } = start(() =>
      Promise.reject(new RotaError("DatabaseRefusesLogin", "wrong password")),
    );
    expect(await outcome).to.match(/cannot use the database: .*wrong password/);
  });

  it("ends when it is told to stop", async () => {
    const { clock, stop, outcome } = start(unavailable);
    await clock.settle();
    stop.abort();
    expect(await outcome).to.match(/cannot use the database: .*ECONNREFUSED/);
  });
});
