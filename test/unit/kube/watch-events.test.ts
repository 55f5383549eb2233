import { expect } from "chai";
import fc from "fast-check";
import { LineSplitter } from "../../../src/kube/watch-events.ts";
import { propertyRuns } from "../../support/property.ts";

describe("line splitter", () => {
  it("gives the same lines however the bytes are cut", () => {
    const line = fc
      .string({ unit: "grapheme", minLength: 1 })
      .filter((text) => !/[\r\n]/.test(text));
    fc.assert(
      fc.property(fc.array(line), fc.array(fc.integer({ min: 1, max: 7 })), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((text) => `${text}\n`).join(""));
        const splitter = new LineSplitter();
        const got: string[] = [];
        let at = 0;
        for (const length of cuts) {
          got.push(...splitter.push(bytes.subarray(at, at + length)));
          at += length;
        }
        got.push(...splitter.push(bytes.subarray(at)));
        expect(got).to.deep.equal(lines);
      }),
      propertyRuns(200),
    );
  });

  it("refuses a line without end", () => {
    const splitter = new LineSplitter();
    const chunk = Buffer.alloc(16 * 1024 * 1024, "x");
    splitter.push(chunk);
    splitter.push(chunk);
    expect(() => splitter.push(chunk)).to.throw(RangeError);
  });
});
