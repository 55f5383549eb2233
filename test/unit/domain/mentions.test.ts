import { expect } from "chai";
import {
  mentionOfBudget,
  mentionOfJob,
  sameProjectAs,
  shownTo,
} from "../../../src/domain/mentions.ts";

describe("sentences that name others' jobs", () => {
  const maySee = sameProjectAs("vision/train");

  it("keep names of the reader's project and all numbers", () => {
    const text =
      "speech/asr (priority 1000) needs 8 GPUs; it evicts 2 pods: vision/train and nlp/x.";
    const mentions = ["speech/asr", "vision/train", "nlp/x"].map(mentionOfJob);
    expect(shownTo(maySee, text, mentions)).to.equal(
      "a job of another project (priority 1000) needs 8 GPUs; it evicts 2 pods: vision/train and a job of another project.",
    );
    expect(shownTo(() => true, text, mentions)).to.equal(text);
    expect(shownTo(maySee, text)).to.equal(text);
  });

  it("take a name as a whole, whatever it begins or ends like", () => {
    const keys = ["a/b", "a/b-2", "a/b.c", "x-a/b"];
    const text = "a/b, a/b-2, a/b.c, x-a/b; a/b.";
    expect(shownTo(maySee, text, [mentionOfJob("a/b")])).to.equal(
      "a job of another project, a/b-2, a/b.c, x-a/b; a job of another project.",
    );
    expect(shownTo(maySee, text, keys.map(mentionOfJob))).to.not.match(/[abx]\//);
    expect(shownTo(maySee, "by axb/c", [mentionOfJob("a.b/c")])).to.equal("by axb/c");
  });

  it("leave out others' budgets as well", () => {
    const text = "protected by PodDisruptionBudget nlp/two, vision/one";
    expect(shownTo(maySee, text, ["nlp/two", "vision/one"].map(mentionOfBudget))).to.equal(
      "protected by PodDisruptionBudget (of another project), vision/one",
    );
  });
});
