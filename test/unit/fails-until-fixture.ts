/** Tests that fails-until.test.ts runs in a mocha process, one by one. */
import { failsUntil } from "../support/fails-until.ts";

const never = new Promise(() => undefined);

describe("a marked test", () => {
  failsUntil("issue 99", "throws", () => {
    throw new Error("not yet");
  });

  failsUntil("issue 99", "rejects", () => Promise.reject(new Error("not yet")));

  failsUntil("issue 99", "passes", async () => undefined);

  failsUntil("issue 99", "hangs", function () {
    return never;
  }).timeout(100);

  failsUntil("issue 99", "skips", function () {
    this.skip();
  });
});

describe("a marked test whose set-up fails", () => {
  before(() => {
    throw new Error("no cluster");
  });

  failsUntil("issue 99", "throws", () => {
    throw new Error("not yet");
  });
});

describe("a marked test whose clean-up fails", () => {
  afterEach(() => {
    throw new Error("left a process");
  });

  failsUntil("issue 99", "throws", () => {
    throw new Error("not yet");
  });
});
