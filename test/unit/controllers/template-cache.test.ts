import { expect } from "chai";
import { maxTemplateLength, TemplateCache } from "../../../src/controllers/job/template-cache.ts";
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
    for (const _turn of [1, 2]) await templates.of("large", read("x".repeat(maxTemplateLength)));
    expect(reads).to.equal(3);
  });

  it("forgets the oldest templates and answers beyond its size", async () => {
    const templates = new TemplateCache<string>(clock, (answer) => answer !== "no");
    const large = { text: "x".repeat(maxTemplateLength - 20) };
    const fill = 130;
    let reads = 0;
    const read = () => Promise.resolve(((reads += 1), large));
    for (let index = 0; index < fill; index += 1) {
      await templates.of(`job-${index}`, read);
      await templates.check({ ...large, index }, ask);
    }
    await templates.of(`job-${fill - 1}`, read);
    await templates.check({ ...large, index: fill - 1 }, ask);
    expect({ reads, asked }).to.deep.equal({ reads: fill, asked: fill });
    await templates.of("job-0", read);
    await templates.check({ ...large, index: 0 }, ask);
    expect({ reads, asked }).to.deep.equal({ reads: fill + 1, asked: fill + 1 });
  });

  it("reads few templates at a time", async () => {
    const templates = new TemplateCache<string>(clock, (answer) => answer !== "no");
    const running: (() => void)[] = [];
    const all = Array.from({ length: 20 }, (_, index) =>
      templates.of(
        `job-${index}`,
        () => new Promise((resolve) => running.push(() => resolve({ index }))),
      ),
    );
    expect(running).to.have.length(8);
    for (let done = 0; done < 20; done += 1) {
      running[done]?.();
      await all[done];
      expect(running).to.have.length(Math.min(20, done + 9));
    }
  });
});
