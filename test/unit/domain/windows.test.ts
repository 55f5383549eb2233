/** Weekly windows on the wall clock, held against a minute-by-minute reading of the rules. */
import { expect } from "chai";
import * as fc from "fast-check";
import {
  changesAfter,
  days,
  quantityAt,
  rangeText,
  rangesOfWindows,
  secondOfWeek,
  comingText,
  secondText,
  weekSeconds,
  type TimeWindow,
} from "../../../src/domain/windows.ts";
import { propertyRuns } from "../../support/property.ts";

const minuteText = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;

const anyWindow: fc.Arbitrary<TimeWindow> = fc.record({
  days: fc.uniqueArray(fc.constantFrom(...days), { minLength: 1 }),
  start: fc.nat(1439).map(minuteText),
  end: fc.integer({ min: 0, max: 1440 }).map(minuteText),
});

const minuteOf = (text: string): number => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));

/** The rule in words: from start, minute by minute, until the clock next shows the end. */
function naiveMinutes(windows: readonly TimeWindow[]): Set<number> {
  const minutes = new Set<number>();
  for (const window of windows) {
    for (const day of window.days ?? days) {
      let minute = days.indexOf(day) * 1440 + minuteOf(window.start);
      const target = minuteOf(window.end) % 1440;
      do {
        minutes.add(minute % 10_080);
        minute += 1;
      } while (minute % 1440 !== target);
    }
  }
  return minutes;
}

function naiveChanges(
  quantities: Parameters<typeof quantityAt>[0],
  from: Temporal.Instant,
  zone: string,
): string[] {
  const until = from.toZonedDateTimeISO(zone).add({ days: 8 }).toInstant();
  const found: string[] = [];
  let current = quantityAt(quantities, secondOfWeek(from, zone));
  for (
    let at = from.add({ minutes: 1 });
    Temporal.Instant.compare(at, until) <= 0;
    at = at.add({ minutes: 1 })
  ) {
    const quantity = quantityAt(quantities, secondOfWeek(at, zone));
    if (quantity !== current) found.push(`${at.toString()} ${quantity}`);
    current = quantity;
  }
  return found;
}

const second = (text: string, zone: string) => secondOfWeek(Temporal.Instant.from(text), zone);

describe("weekly windows", () => {
  it("cover exactly the minutes that the rule says", () => {
    fc.assert(
      fc.property(fc.array(anyWindow, { minLength: 1, maxLength: 4 }), (windows) => {
        const ranges = rangesOfWindows(windows);
        for (const { start, end } of ranges) {
          expect(start).to.be.within(0, end - 1);
          expect(end).to.be.at.most(weekSeconds);
        }
        const naive = naiveMinutes(windows);
        for (let minute = 0; minute < 10_080; minute += 1) {
          const covered = ranges.some(
            ({ start, end }) => start <= minute * 60 && minute * 60 < end,
          );
          if (covered !== naive.has(minute)) expect.fail(`minute ${minute}: ${covered}`);
        }
      }),
      propertyRuns(200),
    );
  });

  it("are the whole week when there are none", () => {
    expect(rangesOfWindows(undefined)).to.deep.equal([{ start: 0, end: weekSeconds }]);
    expect(rangesOfWindows([])).to.deep.equal([{ start: 0, end: weekSeconds }]);
  });

  it("wrap from Sunday to Monday as two ranges", () => {
    const window = { days: ["Sun" as const], start: "22:00", end: "06:00" };
    expect(rangesOfWindows([window])).to.deep.equal([
      { start: 597_600, end: 604_800 },
      { start: 0, end: 21_600 },
    ]);
  });

  it("refuse invalid times", () => {
    for (const [start, end] of [
      ["24:00", "01:00"],
      ["8:00", "09:00"],
      ["08:60", "09:00"],
      ["08:00", "24:01"],
    ] as const) {
      expect(() => rangesOfWindows([{ days: ["Mon"], start, end }]), `${start}-${end}`)
        .to.throw()
        .with.property("code", "InvalidWindow");
    }
  });

  it("are formatted as people write them", () => {
    expect(rangeText({ start: 28_800, end: 64_800 })).to.equal("Mon 08:00-18:00");
    expect(rangeText({ start: 28_800, end: 86_400 })).to.equal("Mon 08:00-24:00");
    expect(rangeText({ start: 4 * 86_400 + 72_000, end: 5 * 86_400 + 21_600 })).to.equal(
      "Fri 20:00-Sat 06:00",
    );
    expect(rangeText({ start: 0, end: weekSeconds })).to.equal("the whole week");
    expect(secondText(weekSeconds)).to.equal("Mon 00:00");
  });

  it("tell next week's time from today's", () => {
    const [monday8, monday9, sunday23] = [8 * 3600, 9 * 3600, 6 * 86_400 + 23 * 3600];
    expect(comingText(monday9, monday8)).to.equal("Mon 09:00");
    expect(comingText(monday8, monday9)).to.equal("next Mon 08:00");
    expect(comingText(monday8, sunday23)).to.equal("Mon 08:00");
    expect(comingText(weekSeconds, sunday23)).to.equal("Mon 00:00");
    expect(comingText(weekSeconds, monday8)).to.equal("next Mon 00:00");
    expect(comingText(sunday23, monday8)).to.equal("Sun 23:00");
  });

  it("take the second of the week from the wall clock", () => {
    expect(second("2026-06-01T00:00:00Z", "UTC")).to.equal(0);
    expect(second("2026-05-31T23:59:59.999Z", "UTC")).to.equal(weekSeconds - 1);
    expect(second("2026-05-31T23:00:00Z", "Europe/Berlin")).to.equal(3600);
    expect(second("2026-03-29T00:59:59Z", "Europe/Berlin")).to.equal(6 * 86_400 + 7199);
    expect(second("2026-03-29T01:00:00Z", "Europe/Berlin")).to.equal(6 * 86_400 + 10_800);
    expect(second("2026-10-25T00:00:00Z", "Europe/Berlin")).to.equal(
      second("2026-10-25T01:00:00Z", "Europe/Berlin"),
    );
  });

  it("do not overlap when the clocks change", () => {
    const day = rangesOfWindows([{ days: ["Sun"], start: "01:00", end: "02:30" }])[0];
    const night = rangesOfWindows([{ days: ["Sun"], start: "02:30", end: "04:00" }])[0];
    const quantities = [day, night].flatMap((range, index) =>
      range ? [Object.assign(range, { quantity: index + 1 })] : [],
    );
    const grantedBetween = (from: string, hours: number) =>
      Array.from({ length: hours * 4 }, (_, quarter) => {
        const at = Temporal.Instant.from(from).add({ minutes: 15 * quarter });
        return quantityAt(quantities, secondOfWeek(at, "Europe/Berlin"));
      }).join("");
    // 2026-03-29 01:00 to 04:00 is two hours: the clocks skip from 02:00 to 03:00.
    expect(grantedBetween("2026-03-29T00:00:00Z", 2)).to.equal("11112222");
    // 2026-10-25 01:00 to 04:00 is four: the hour from 02:00 comes twice, and grants twice the same.
    expect(grantedBetween("2026-10-24T23:00:00Z", 4)).to.equal("1111112211222222");
  });

  for (const zone of [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
  ]) {
    it(`agree with a walk through every minute in ${zone}`, () => {
      // Around both changes of time of the northern and southern zones, where it is hard.
      const starts = [
        "2026-03-05",
        "2026-03-26",
        "2026-04-02",
        "2026-10-01",
        "2026-10-22",
        "2026-10-29",
        "2026-06-10",
      ];
      fc.assert(
        fc.property(
          fc.constantFrom(...starts),
          fc.array(anyWindow, { minLength: 1, maxLength: 2 }),
          (day, windows) => {
            const from = Temporal.PlainDate.from(day).toZonedDateTime(zone).toInstant();
            const quantities = rangesOfWindows(windows).map((range, index) =>
              Object.assign(range, { quantity: index + 1 }),
            );
            expect(
              changesAfter(quantities, from, zone).map(
                ({ at, quantity }) => `${at.toString()} ${quantity}`,
              ),
            ).to.deep.equal(naiveChanges(quantities, from, zone));
          },
        ),
        propertyRuns(10),
      );
    });
  }
});
