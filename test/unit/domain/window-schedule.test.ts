import { expect } from "chai";
import * as fc from "fast-check";
import {
  type ClosingWindow,
  evictClosesAhead,
  lastEvictClose,
  nextEvictClose,
} from "../../../src/domain/window-schedule.ts";
import { rangesOfWindows, secondOfWeekAt, weekSeconds } from "../../../src/domain/windows.ts";
import { propertyRuns } from "../../support/property.ts";

const hour = 3600;
const day = 24 * hour;

const window = (
  plan: string,
  start: number,
  end: number,
  onWindowClose: "Finish" | "Evict" = "Evict",
): ClosingWindow => ({ plan, start, end, onWindowClose });

/** A second of a week without a change of the clock. */
const monday = Temporal.ZonedDateTime.from("2026-06-01T00:00[UTC]");
const inWeek = (second: number): Temporal.ZonedDateTime => monday.add({ seconds: second });

/** Monday 08:00 to 18:00. */
const office = window("office", 8 * hour, 18 * hour);

describe("the closes of evicting windows", () => {
  it("are told while the window is open, and after it", () => {
    expect(nextEvictClose([office], inWeek(17 * hour))).to.include({
      plan: "office",
      atSecond: 18 * hour,
      seconds: hour,
    });
    expect(lastEvictClose([office], inWeek(17 * hour))).to.equal(undefined);
    expect(nextEvictClose([office], inWeek(18 * hour))).to.equal(undefined);
    expect(lastEvictClose([office], inWeek(18 * hour))?.seconds).to.equal(0);
    expect(lastEvictClose([office], inWeek(19 * hour))?.seconds).to.equal(hour);
    expect(lastEvictClose([office], inWeek(7 * hour))?.seconds).to.equal(weekSeconds - 11 * hour);
  });

  it("are none with Finish, nor for the whole week", () => {
    const finish = { ...office, onWindowClose: "Finish" as const };
    const always = window("always", 0, weekSeconds);
    for (const one of [finish, always]) {
      expect(nextEvictClose([one], inWeek(9 * hour))).to.equal(undefined);
      expect(lastEvictClose([one], inWeek(19 * hour))).to.equal(undefined);
    }
  });

  it("are not at Sunday midnight when the window goes on", () => {
    const weekend = [window("weekend", 6 * day, weekSeconds), window("weekend", 0, 6 * hour)];
    expect(nextEvictClose(weekend, inWeek(weekSeconds - hour))).to.include({
      plan: "weekend",
      atSecond: 6 * hour,
      seconds: 7 * hour,
    });
    expect(lastEvictClose(weekend, inWeek(hour))).to.equal(undefined);
    expect(lastEvictClose(weekend, inWeek(7 * hour))?.seconds).to.equal(hour);
  });

  it("count after another window only when that followed at once", () => {
    const night = window("night", 18 * hour, 20 * hour, "Finish");
    const late = window("late", 21 * hour, 22 * hour, "Finish");
    expect(lastEvictClose([office, night], inWeek(19 * hour))?.plan).to.equal("office");
    expect(lastEvictClose([office, night], inWeek(20 * hour))).to.equal(undefined);
    expect(lastEvictClose([office, late], inWeek(20 * hour))?.plan).to.equal("office");
    expect(lastEvictClose([office, late], inWeek(21 * hour))).to.equal(undefined);
  });

  it("follow one another for as long as windows that evict do, at most for a week", () => {
    const ahead = (windows: readonly ClosingWindow[], second: number) =>
      evictClosesAhead(windows, inWeek(second)).map(({ plan, seconds }) => [plan, seconds / hour]);
    const night = window("night", 18 * hour, 22 * hour);
    expect(ahead([office, night], 17 * hour)).to.deep.equal([
      ["office", 1],
      ["night", 5],
    ]);
    expect(ahead([office], 7 * hour), "none is open").to.deep.equal([]);
    const finishing = window("late", 18 * hour, 22 * hour, "Finish");
    expect(ahead([office, finishing], 17 * hour)).to.deep.equal([["office", 1]]);
    const days = Array.from({ length: 14 }, (_, index) =>
      window(index % 2 === 0 ? "day" : "night", index * 12 * hour, (index + 1) * 12 * hour),
    );
    expect(ahead(days, hour).map(([, hours]) => hours)).to.deep.equal(
      Array.from({ length: 14 }, (_, index) => 11 + 12 * index),
    );
  });

  it("never lie inside an open window", () => {
    const times = fc.constantFrom("00:00", "06:00", "12:00", "18:00");
    const drawn = fc.record({
      days: fc.uniqueArray(fc.constantFrom("Mon" as const, "Tue" as const, "Sun" as const), {
        minLength: 1,
      }),
      start: times,
      end: times,
    });
    fc.assert(
      fc.property(drawn, fc.nat({ max: weekSeconds - 1 }), (one, second) => {
        const ranges = rangesOfWindows([one]);
        const windows = ranges.map(({ start, end }) => window("drawn", start, end));
        const isOpen = (at: number): boolean =>
          ranges.some(({ start, end }) => start <= at % weekSeconds && at % weekSeconds < end);
        const next = nextEvictClose(windows, inWeek(second));
        expect(next !== undefined).to.equal(isOpen(second));
        if (next) {
          expect(isOpen(next.atSecond)).to.equal(false);
          expect((second + next.seconds) % weekSeconds).to.equal(next.atSecond);
          expect(isOpen(second + next.seconds - 1)).to.equal(true);
        }
        const last = lastEvictClose(windows, inWeek(second));
        expect(last !== undefined).to.equal(!isOpen(second));
        if (last) expect((last.atSecond + last.seconds) % weekSeconds).to.equal(second);
      }),
      propertyRuns(500),
    );
  });
});

describe("a close where summer time begins or ends", () => {
  const at = (text: string) => Temporal.ZonedDateTime.from(text);
  /** Saturday 22:00 to Sunday 02:30, which spring skips and autumn repeats. */
  const night = [window("night", 5 * day + 22 * hour, 6 * day + 2.5 * hour)];
  const clock = ({ at: when }: { at: Temporal.ZonedDateTime } = { at: at("2000-01-01[UTC]") }) =>
    when.toString({ timeZoneName: "never", smallestUnit: "minute" });

  it("in a skipped hour is where the hour is skipped", () => {
    const before = at("2027-03-28T01:59:00[Europe/Berlin]");
    expect(nextEvictClose(night, before)?.seconds).to.equal(60);
    for (const later of ["03:00", "03:30", "05:00"]) {
      const last = lastEvictClose(night, at(`2027-03-28T${later}[Europe/Berlin]`));
      expect(clock(last)).to.equal("2027-03-28T03:00+02:00");
    }
  });

  it("at the first skipped instant is there", () => {
    const early = [window("early", 5 * day + 22 * hour, 6 * day + 2 * hour)];
    const now = at("2027-03-28T00:00[Europe/Berlin]");
    expect(clock(nextEvictClose(early, now))).to.equal("2027-03-28T03:00+02:00");
    const midnight = [window("midnight", 5 * day + 12 * hour, 6 * day)];
    const evening = at("2026-09-05T20:00[America/Santiago]");
    expect(clock(nextEvictClose(midnight, evening))).to.equal("2026-09-06T01:00-03:00");
  });

  it("in a repeated hour is there twice", () => {
    const closes = (text: string) => clock(nextEvictClose(night, at(text)));
    expect(closes("2026-10-25T01:00+02:00[Europe/Berlin]")).to.equal("2026-10-25T02:30+02:00");
    expect(closes("2026-10-25T02:10+01:00[Europe/Berlin]")).to.equal("2026-10-25T02:30+01:00");
    const last = (text: string) => clock(lastEvictClose(night, at(text)));
    expect(last("2026-10-25T02:40+02:00[Europe/Berlin]")).to.equal("2026-10-25T02:30+02:00");
    expect(last("2026-10-25T06:00+01:00[Europe/Berlin]")).to.equal("2026-10-25T02:30+01:00");
  });

  it("is where the window was open a second before", () => {
    const zones = fc.constantFrom(
      "Europe/Berlin",
      "America/Santiago",
      "Australia/Lord_Howe",
      "Africa/Casablanca",
      "Pacific/Apia",
    );
    const range = fc
      .tuple(fc.nat({ max: 7 * 48 - 1 }), fc.integer({ min: 1, max: 7 * 48 - 1 }))
      .map(([start, length]) => ({ start: start * 1800, length: length * 1800 }));
    const minutes = fc.integer({ min: -6000, max: 12_000 });
    fc.assert(
      fc.property(
        zones,
        range,
        fc.integer({ min: 0, max: 40 }),
        minutes,
        (zone, { start, length }, skip, offset) => {
          let jump = at(`2010-01-01T00:00[${zone}]`);
          for (let index = 0; index <= skip; index += 1)
            jump = jump.getTimeZoneTransition("next") ?? jump;
          const now = jump.add({ minutes: offset });
          const windows = cut(start, start + length);
          const isOpen = (when: Temporal.ZonedDateTime): boolean => {
            const second = secondOfWeekAt(when);
            return windows.some((one) => one.start <= second && second < one.end);
          };
          expect(nextEvictClose(windows, now)?.at.toString()).to.equal(
            isOpen(now) ? firstMinute(now, 1, (when) => !isOpen(when)).toString() : undefined,
          );
          const closed = isOpen(now)
            ? undefined
            : firstMinute(now, -1, (when) => isOpen(when))
                .add({ minutes: 1 })
                .toString();
          expect(lastEvictClose(windows, now)?.at.toString()).to.equal(closed);
        },
      ),
      propertyRuns(100),
    );
  });
});

/** A range of the week that may pass its end, as windows. */
const cut = (start: number, end: number): ClosingWindow[] =>
  end <= weekSeconds
    ? [window("drawn", start, end)]
    : [window("drawn", start, weekSeconds), window("drawn", 0, end - weekSeconds)];

/** Minute by minute, forward or back, until it is so. */
function firstMinute(
  from: Temporal.ZonedDateTime,
  step: 1 | -1,
  is: (when: Temporal.ZonedDateTime) => boolean,
): Temporal.ZonedDateTime {
  let when = from;
  while (!is(when)) when = when.add({ minutes: step });
  return when;
}
