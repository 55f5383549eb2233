/** Values survive the way to PostgreSQL and back. */
import { expect } from "chai";
import * as fc from "fast-check";
import { formatPath, parseIntegerRange, type IntegerRange } from "../../src/db/client/types.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { rejection } from "../support/fixtures.ts";
import { propertyRuns } from "../support/property.ts";

const bound = fc.option(fc.integer({ min: -1_000_000, max: 1_000_000 }), { nil: null });
const range: fc.Arbitrary<IntegerRange> = fc
  .tuple(bound, bound, fc.boolean(), fc.boolean())
  .filter(([lower, upper]) => lower === null || upper === null || lower <= upper)
  .map(([lower, upper, lowerInclusive, upperInclusive]) => ({
    empty: false,
    lower,
    upper,
    lowerInclusive,
    upperInclusive,
  }));

/** What PostgreSQL makes of a range: [lower, upper) where bounds are finite, "empty" where nothing is left. */
function canonical(value: IntegerRange): IntegerRange {
  if (value.empty) return value;
  const lower = value.lower === null || value.lowerInclusive ? value.lower : value.lower + 1;
  const upper = value.upper === null || !value.upperInclusive ? value.upper : value.upper + 1;
  if (lower !== null && upper !== null && lower >= upper) return { empty: true };
  return { empty: false, lower, upper, lowerInclusive: lower !== null, upperInclusive: false };
}

/** Writes an int4range for a parameter. */
function formatIntegerRange(range: IntegerRange): string {
  if (range.empty) return "empty";
  const open = range.lowerInclusive ? "[" : "(";
  const close = range.upperInclusive ? "]" : ")";
  return `${open}${range.lower ?? ""},${range.upper ?? ""}${close}`;
}

describe("types between TypeScript and PostgreSQL", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  async function roundTrip(value: unknown, type: string): Promise<unknown> {
    const { rows } = await database.pool.query(`SELECT $1::${type} AS value`, [value]);
    return rows[0].value;
  }

  it("map int4range with all its bounds", async () => {
    expect(await roundTrip("empty", "int4range")).to.deep.equal({ empty: true });
    await fc.assert(
      fc.asyncProperty(range, async (value) => {
        const back = (await roundTrip(formatIntegerRange(value), "int4range")) as IntegerRange;
        expect(back).to.deep.equal(canonical(value));
        expect(await roundTrip(formatIntegerRange(back), "int4range")).to.deep.equal(back);
        expect(parseIntegerRange(formatIntegerRange(value))).to.deep.equal(value);
      }),
      propertyRuns(300),
    );
  });

  it("map arrays of ranges", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(range), async (values) => {
        const back = await roundTrip(values.map(formatIntegerRange), "int4range[]");
        expect(back).to.deep.equal(values.map(canonical));
      }),
      propertyRuns(300),
    );
  });

  it("map ltree and its arrays", async () => {
    const label = fc.stringMatching(/^[a-z0-9]([_a-z0-9]{0,20}[a-z0-9])?$/);
    await fc.assert(
      fc.asyncProperty(fc.array(label, { maxLength: 20 }), async (path) => {
        expect(await roundTrip(formatPath(path), "ltree")).to.deep.equal(path);
        expect(await roundTrip([formatPath(path)], "ltree[]")).to.deep.equal([path]);
      }),
      propertyRuns(300),
    );
  });

  it("map bigint to safe integers, and refuse others", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.maxSafeInteger()), async (values) => {
        expect(await roundTrip(values, "bigint[]")).to.deep.equal(values);
        expect(await roundTrip(values[0] ?? 0, "bigint")).to.equal(values[0] ?? 0);
      }),
      propertyRuns(300),
    );
    expect((await rejection(roundTrip("9007199254740993", "bigint"))).code).to.equal(
      "InvalidValue",
    );
    expect(await roundTrip(1, "bigint")).to.equal(1);
  });

  it("map timestamps to the microsecond", async () => {
    const microseconds = fc.bigInt({ min: 0n, max: 4_102_444_800_000_000n });
    await fc.assert(
      fc.asyncProperty(microseconds, async (value) => {
        const instant = new Temporal.Instant(value * 1000n);
        expect(String(await roundTrip(instant.toString(), "timestamptz"))).to.equal(
          instant.toString(),
        );
      }),
      propertyRuns(300),
    );
  });

  it("map every enum, alone and in arrays", async () => {
    const { rows } = await database.pool.query<{ type: string; labels: string[] }>(`
      SELECT typname AS type, array_agg(enumlabel::text ORDER BY enumsortorder) AS labels
      FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid GROUP BY typname
    `);
    expect(rows.length).to.be.greaterThan(8);
    for (const { type, labels } of rows) {
      expect(await roundTrip(labels, `${type}[]`), type).to.deep.equal(labels);
      expect(await roundTrip(labels[0], type)).to.equal(labels[0]);
    }
  });
});
