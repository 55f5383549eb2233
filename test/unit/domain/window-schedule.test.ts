import { expect } from "chai";
import * as fc from "fast-check";
import {
  type ClosingWindow,
  lastEvictClose,
  nextEvictClose,
} from "../../../src/domain/window-schedule.ts";
import { instantBefore, rangesOfWindows, weekSeconds } from "../../../src/domain/windows.ts";
import { propertyRuns } from "../../support/property.ts";

const hour = 3600;
const day = 24 * hour;

const window = (
  plan: string,
  start: number,
  end: number,
  onWindowClose: "Finish" | "Evict" = "Evict",
): ClosingWindow => ({ plan, start, end, onWindowClose });

/** Monday 08:00 to 18:00. */
const office = window("office", 8 * hour, 18 * hour);

describe("the closes of evicting windows", () => {
  it("are told while the window is open, and after it", () => {
    expect(nextEvictClose([office], 17 * hour)).to.deep.equal({
      plan: "office",
      atSecond: 18 * hour,
      seconds: hour,
    });
    expect(lastEvictClose([office], 17 * hour)).to.equal(undefined);
    expect(nextEvictClose([office], 18 * hour)).to.equal(undefined);
    expect(lastEvictClose([office], 18 * hour)?.seconds).to.equal(0);
    expect(lastEvictClose([office], 19 * hour)?.seconds).to.equal(hour);
    expect(lastEvictClose([office], 7 * hour)?.seconds).to.equal(weekSeconds - 11 * hour);
  });

  it("are none with Finish, nor for the whole week", () => {
    const finish = { ...office, onWindowClose: "Finish" as const };
    const always = window("always", 0, weekSeconds);
    for (const one of [finish, always]) {
      expect(nextEvictClose([one], 9 * hour)).to.equal(undefined);
      expect(lastEvictClose([one], 19 * hour)).to.equal(undefined);
    }
  });

  it("are not at Sunday midnight when the window goes on", () => {
    const weekend = [window("weekend", 6 * day, weekSeconds), window("weekend", 0, 6 * hour)];
    expect(nextEvictClose(weekend, weekSeconds - hour)).to.deep.equal({
      plan: "weekend",
      atSecond: 6 * hour,
      seconds: 7 * hour,
    });
    expect(lastEvictClose(weekend, hour)).to.equal(undefined);
    expect(lastEvictClose(weekend, 7 * hour)?.seconds).to.equal(hour);
  });

  it("count after another window only when that followed at once", () => {
    const night = window("night", 18 * hour, 20 * hour, "Finish");
    const late = window("late", 21 * hour, 22 * hour, "Finish");
    expect(lastEvictClose([office, night], 19 * hour)?.plan).to.equal("office");
    expect(lastEvictClose([office, night], 20 * hour)).to.equal(undefined);
    expect(lastEvictClose([office, late], 20 * hour)?.plan).to.equal("office");
    expect(lastEvictClose([office, late], 21 * hour)).to.equal(undefined);
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
        const next = nextEvictClose(windows, second);
        expect(next !== undefined).to.equal(isOpen(second));
        if (next) {
          expect(isOpen(next.atSecond)).to.equal(false);
          expect((second + next.seconds) % weekSeconds).to.equal(next.atSecond);
          expect(isOpen(second + next.seconds - 1)).to.equal(true);
        }
        const last = lastEvictClose(windows, second);
        expect(last !== undefined).to.equal(!isOpen(second));
        if (last) expect((last.atSecond + last.seconds) % weekSeconds).to.equal(second);
      }),
      propertyRuns(500),
    );
  });
});

describe("the wall clock in the past", () => {
  const berlin = "Europe/Berlin";
  const at = (text: string) => Temporal.Instant.from(text);

  it("is that many seconds ago on most days", () => {
    const now = at("2026-06-01T10:00:00Z");
    expect(instantBefore(now, berlin, 3600).toString()).to.equal("2026-06-01T09:00:00Z");
  });

  it("follows the wall clock over a change of daylight saving", () => {
    // 03:30 after the spring change; 01:30 on the wall is one real hour ago.
    expect(instantBefore(at("2026-03-29T01:30:00Z"), berlin, 7200).toString()).to.equal(
      "2026-03-29T00:30:00Z",
    );
    // 04:00 after the autumn change; 01:00 on the wall is four real hours ago.
    expect(instantBefore(at("2026-10-25T03:00:00Z"), berlin, 10_800).toString()).to.equal(
      "2026-10-24T23:00:00Z",
    );
  });
});
