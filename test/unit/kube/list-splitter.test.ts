import { expect } from "chai";
import fc from "fast-check";
import { ListSplitter } from "../../../src/kube/list-splitter.ts";
import { propertyRuns } from "../../support/property.ts";

/** Cuts `text` at random places. */
function* cut(text: string, lengths: readonly number[]): Generator<Buffer> {
  const bytes = Buffer.from(text);
  let at = 0;
  for (const length of lengths) {
    yield bytes.subarray(at, at + length);
    at += length;
  }
  yield bytes.subarray(at);
}

function read(text: string, lengths: readonly number[] = []) {
  const splitter = new ListSplitter();
  const items: unknown[] = [];
  for (const chunk of cut(text, lengths)) {
    for (const item of splitter.push(chunk)) items.push(JSON.parse(item));
  }
  const envelope: unknown = JSON.parse(splitter.end());
  return { items, envelope };
}

describe("list splitter", () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 200 });
  const object = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue());

  it("gives the same items however the bytes are cut", () => {
    const rest = fc.record({ metadata: object, kind: fc.string({ unit: "grapheme" }) });
    const isFirst = fc.boolean();
    fc.assert(
      fc.property(fc.array(object), rest, isFirst, cuts, (items, around, itemsFirst, lengths) => {
        const list = itemsFirst ? { items, ...around } : { ...around, items };
        const result = read(JSON.stringify(list), lengths);
        const plain = JSON.parse(JSON.stringify(items)) as unknown;
        expect(result.items).to.deep.equal(plain);
        expect(result.envelope).to.deep.equal(JSON.parse(JSON.stringify({ ...list, items: [] })));
      }),
      propertyRuns(200),
    );
  });

  it("takes no other array for the items", () => {
    const list = { columns: ["items", { items: [1] }], note: '"items":', items: [{ a: "]}" }] };
    const { envelope, items } = read(JSON.stringify(list));
    expect(items).to.deep.equal([{ a: "]}" }]);
    expect(envelope).to.deep.equal({ ...list, items: [] });
  });

  it("reads lists without items, and with spaces", () => {
    expect(read('{"items":null}')).to.deep.equal({ items: [], envelope: { items: null } });
    expect(read('{ "items" : [ ] }').items).to.deep.equal([]);
    expect(read('{ "items" : [ {"a" : 1} , {} ] }').items).to.deep.equal([{ a: 1 }, {}]);
  });

  it("refuses an item, and a rest, without end", () => {
    const chunk = Buffer.alloc(16 * 1024 * 1024, "x");
    const splitter = new ListSplitter();
    splitter.push(Buffer.from('{"items":[{"a":"'));
    splitter.push(chunk);
    expect(() => splitter.push(chunk)).to.throw(RangeError);
    expect(() => new ListSplitter().push(chunk)).to.throw(RangeError);
  });
});
