import { expect } from "chai";
import { Paced } from "../../../src/http/paced.ts";
import { createManualClock } from "../../support/manual-clock.ts";

describe("expensive work of the HTTP API", () => {
  it("runs one at a time, with pauses as long", async () => {
    const clock = createManualClock();
    const paced = new Paced(clock);
    const begun: string[] = [];
    const work = (name: string) => async () => {
      begun.push(name);
      await clock.sleep(0.5);
      if (name === "b") throw new Error("failed");
      return name;
    };
    const all = ["a", "b", "c"].map((name) => paced.run(work(name)).catch(String));
    await clock.advance(0.5);
    expect(begun).to.deep.equal(["a"]);
    await clock.advance(0.4);
    expect(begun).to.deep.equal(["a"]);
    await clock.advance(0.1);
    expect(begun).to.deep.equal(["a", "b"]);
    await clock.advance(0.5);
    await clock.advance(0.5);
    await clock.advance(0.5);
    expect(await Promise.all(all)).to.deep.equal(["a", "Error: failed", "c"]);
  });

  it("refuses what would wait too long", async () => {
    const paced = new Paced(createManualClock());
    const never = () => new Promise<never>(() => undefined);
    const first = paced.run(never);
    first.catch(() => undefined);
    await Promise.resolve();
    const codes = Array.from({ length: 12 }, () =>
      paced.run(never).catch((error: unknown) => error),
    );
    const refused = await Promise.race(codes);
    expect(refused).to.include({ code: "Overloaded" });
  });
});
