import { expect } from "chai";
import { TemplateCache } from "../../../src/controllers/job/template-cache.ts";
import { createManualClock } from "../../support/manual-clock.ts";

describe("the template cache", () => {
  const clock = createManualClock();
  let asked = 0;
  const ask = () => Promise.resolve(`answer ${++asked}`);
  const question = { spec: { containers: [{ image: "a" }] } };

  beforeEach(() => {
    asked = 0;
  });

  it("asks once for jobs that come together, again after expiry", async () => {
    const templates = new TemplateCache<string>(clock, (answer) => answer !== "no");
    const both = [templates.check(question, ask), templates.check(question, ask)];
    expect(await Promise.all(both)).to.deep.equal(["answer 1", "answer 1"]);
    await templates.check({ spec: { containers: [{ image: "b" }] } }, ask);
    expect(asked).to.equal(2);
    await clock.advance(11);
    expect(await templates.check(question, ask)).to.equal("answer 3");
  });

  it("does not cache an error", async () => {
    const templates = new TemplateCache<string>(clock, (answer) => answer !== "no");
    const failed = await templates
      .check(question, () => Promise.reject(new Error("away")))
      .catch((error: unknown) => error);
    expect(failed).to.be.an("error");
    expect(await templates.check(question, ask)).to.equal("answer 1");
  });

  it("does not cache a refusal for the next", async () => {
    const templates = new TemplateCache<string>(clock, (answer) => answer !== "no");
    await templates.check(question, () => Promise.resolve("no"));
    expect(await templates.check(question, ask)).to.equal("answer 1");
  });

  it("reads a template once, and a large one each time", async () => {
    const templates = new TemplateCache<string>(clock, (answer) => answer !== "no");
    let reads = 0;
    const read = (text: string) => () => {
      reads += 1;
      return Promise.resolve({ text });
    };
    for (const _turn of [1, 2]) await templates.of("small", read("x"));
    expect(reads).to.equal(1);
    for (const _turn of [1, 2]) await templates.of("large", read("x".repeat(40_000)));
    expect(reads).to.equal(3);
  });

  it("has a maximum size", async () => {
    const templates = new TemplateCache<string>(clock, (answer) => answer !== "no");
    const read = () => Promise.resolve({});
    for (let index = 0; index <= 2000; index += 1) await templates.of(`job-${index}`, read);
    let requeueAfter = 0;
    await templates.of("job-0", () => {
      requeueAfter += 1;
      return Promise.resolve({});
    });
    expect(requeueAfter).to.equal(1);
  });
});
