import { expect } from "chai";
import { calendarText } from "../../../src/cli/calendar.ts";
import { drawTree } from "../../../src/cli/commands/tree.ts";
import { ageText, printable, structured, table } from "../../../src/cli/output.ts";
import { sinceOf } from "../../../src/cli/since.ts";
import { CliError } from "../../../src/cli/errors.ts";
import { weekText } from "../../../src/cli/week-text.ts";
import { rangesOfWindows } from "../../../src/domain/windows.ts";

describe("the plugin's drawings", () => {
  it("shows a week by hours, with what changes within one", () => {
    const day = rangesOfWindows([{ days: ["Mon", "Wed"], start: "08:00", end: "17:30" }]);
    const night = rangesOfWindows([{ days: ["Sun"], start: "22:00", end: "02:00" }]);
    const lines = calendarText([
      ...day.map((range) => ({ ...range, quantity: 8 })),
      ...night.map((range) => ({ ...range, quantity: 1500 })),
    ]).split("\n");
    expect(lines).to.have.lengthOf(8);
    expect(lines[0]).to.equal(
      `     ${Array.from({ length: 24 }, (_, hour) => ` ${String(hour).padStart(2, "0")}`).join("")}`,
    );
    expect(lines[1]).to.equal(
      "Mon   2k 2k  ·  ·  ·  ·  ·  ·  8  8  8  8  8  8  8  8  8 ~8  ·  ·  ·  ·  ·  ·",
    );
    expect(lines[2]).to.match(/^Tue {2}( {2}·){24}$/);
    expect(lines[7]).to.equal(
      "Sun    ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  · 2k 2k",
    );
    for (const line of lines) expect(line.length).to.be.at.most(80);
  });

  it("summarises the windows of a week", () => {
    const text = (...windows: Parameters<typeof rangesOfWindows>[0] & object) =>
      weekText(rangesOfWindows(windows));
    const all = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;
    expect(weekText(rangesOfWindows(undefined))).to.equal("the whole week");
    expect(text({ days: all, start: "19:00", end: "07:00" })).to.equal("every day 19:00-07:00");
    expect(text({ days: all.slice(0, 5), start: "08:00", end: "18:00" })).to.equal(
      "Mon-Fri 08:00-18:00",
    );
    expect(
      text(
        { days: ["Mon", "Wed"], start: "08:30", end: "12:00" },
        { days: ["Sat"], start: "00:00", end: "24:00" },
        { days: ["Sun"], start: "22:00", end: "02:00" },
      ),
    ).to.equal("Mon, Wed 08:30-12:00, Sat all day, Sun 22:00-02:00");
    expect(weekText([{ start: 5 * 86_400 + 3600, end: 604_800 }])).to.equal(
      "Sat 01:00 to Sun 24:00",
    );
  });

  const project = (name: string, parent: string | null) => ({
    name,
    parent,
    namespace: name,
    owner: null,
    gpusPlanned: null,
    gpusRunning: 0,
    gpusPending: 0,
    gpusBorrowed: null,
    problem: null,
  });
  const drawn = (root?: string) =>
    drawTree(
      [
        project("speech", "research"),
        project("acme", null),
        project("vision", "research"),
        project("production", "acme"),
        project("research", "acme"),
        project("lonely", "hidden"),
        project("ring-a", "ring-b"),
        project("ring-b", "ring-a"),
      ],
      root,
    ).map((line) => line.drawn);

  it("draws orphans at the top and ends a cycle", () => {
    expect(drawn()).to.deep.equal([
      "acme",
      "├─ production",
      "└─ research",
      "   ├─ speech",
      "   └─ vision",
      "lonely",
    ]);
    expect(drawn("research")).to.deep.equal(["research", "├─ speech", "└─ vision"]);
    expect(drawn("ring-a")).to.deep.equal(["ring-a", "└─ ring-b"]);
    expect(drawn("nowhere")).to.deep.equal([]);
  });

  it("draws tables without borders or control characters", () => {
    const text = table(
      [
        { name: "short", count: 5 },
        { name: "much \u001B[2Jlonger", count: null },
      ],
      [
        { title: "NAME", value: ({ name }) => name },
        { title: "COUNT", value: ({ count }) => count, right: true },
        { title: "LAST", value: () => "x" },
      ],
    );
    expect(text.split("\n")).to.deep.equal([
      "NAME              COUNT   LAST",
      "short                 5   x",
      "much  [2Jlonger       -   x",
    ]);
    expect(printable("a\nb\u009Bc")).to.equal("a b c");
  });

  it("cuts the flexible column to what a terminal has left", () => {
    const rows = [{ name: "one", message: "x".repeat(100) }];
    const columns = [
      { title: "NAME", value: ({ name }: { name: string }) => name },
      { title: "MESSAGE", value: ({ message }: { message: string }) => message, flexible: true },
    ];
    const width = (columnsOfTerminal?: number) =>
      table(rows, columns, columnsOfTerminal).split("\n")[1]?.length;
    expect(width(60)).to.equal(60);
    expect(width(10)).to.equal("NAME   ".length + 24);
    expect(table(rows, columns, Number.POSITIVE_INFINITY)).to.contain("x".repeat(100));
  });

  it("prints ages as kubectl does", () => {
    const now = Date.parse("2026-06-02T12:00:00Z");
    const age = (instant: string) => ageText(instant, now);
    expect(age("2026-06-02T11:59:48Z")).to.equal("12s");
    expect(age("2026-06-02T11:52:00Z")).to.equal("8m");
    expect(age("2026-06-02T06:48:00Z")).to.equal("5h12m");
    expect(age("2026-05-30T08:00:00Z")).to.equal("3d4h");
    expect(age("2026-06-02T12:00:05Z")).to.equal("0s");
    expect(ageText(null)).to.equal("-");
  });

  it("reads times as people write them", () => {
    const now = Date.parse("2026-06-02T12:00:00Z");
    expect(sinceOf("90m", now)).to.equal("2026-06-02T10:30:00.000Z");
    expect(sinceOf("7d", now)).to.equal("2026-05-26T12:00:00.000Z");
    expect(sinceOf("2026-06-01")).to.equal("2026-06-01T00:00:00.000Z");
    expect(sinceOf("2026-06-01T08:00:00+02:00")).to.equal("2026-06-01T06:00:00.000Z");
    for (const text of ["yesterday", "5", "2026-13-01", "1y", ""]) {
      expect(() => sinceOf(text)).to.throw(CliError, "invalid time");
    }
  });

  it("prints data as JSON and as YAML", () => {
    const data = { items: [{ name: "a", parent: null, missing: undefined }] };
    expect(JSON.parse(structured(data, "json"))).to.deep.equal({
      items: [{ name: "a", parent: null }],
    });
    expect(structured(data, "yaml")).to.equal("items:\n  - name: a\n    parent: null");
  });
});
