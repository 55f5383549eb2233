import { expect } from "chai";
import {
  redactableBudget,
  redactableJob,
  sameProjectAs,
  redactFor,
} from "../../../src/domain/redaction.ts";

describe("redacted sentences", () => {
  const maySee = sameProjectAs("vision/train");

  it("keep the reader's own names and all numbers", () => {
    const text =
      "speech/asr (priority 1000) needs 8 GPUs; it evicts 2 pods: vision/train and nlp/x.";
    const redactables = ["speech/asr", "vision/train", "nlp/x"].map(redactableJob);
    expect(redactFor(maySee, text, redactables)).to.equal(
      "a job of another project (priority 1000) needs 8 GPUs; it evicts 2 pods: vision/train and a job of another project.",
    );
    expect(redactFor(() => true, text, redactables)).to.equal(text);
    expect(redactFor(maySee, text)).to.equal(text);
  });

  it("redact whole names only", () => {
    const keys = ["a/b", "a/b-2", "a/b.c", "x-a/b"];
    const text = "a/b, a/b-2, a/b.c, x-a/b; a/b.";
    expect(redactFor(maySee, text, [redactableJob("a/b")])).to.equal(
      "a job of another project, a/b-2, a/b.c, x-a/b; a job of another project.",
    );
    expect(redactFor(maySee, text, keys.map(redactableJob))).to.not.match(/[abx]\//);
    expect(redactFor(maySee, "by axb/c", [redactableJob("a.b/c")])).to.equal("by axb/c");
  });

  it("leave out others' budgets as well", () => {
    const text = "protected by PodDisruptionBudget nlp/two, vision/one";
    expect(redactFor(maySee, text, ["nlp/two", "vision/one"].map(redactableBudget))).to.equal(
      "protected by PodDisruptionBudget (of another project), vision/one",
    );
  });
});
