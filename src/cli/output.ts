/** Tables as kubectl draws them, JSON, YAML; colours on a terminal alone. */
import { styleText } from "node:util";
import Table from "cli-table3";
import { dump } from "js-yaml";

export type Format = "table" | "json" | "yaml";
type Style = Parameters<typeof styleText>[0];

/** NO_COLOR, FORCE_COLOR and the terminal itself are asked by styleText. */
export const styled = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });

export type Cell = string | number | null | undefined;

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => Cell;
  readonly right?: boolean;
  readonly style?: (row: Row) => Style | undefined;
}

const none = "-";
const borders = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "   ",
};

const textOf = (cell: Cell): string =>
  cell === null || cell === undefined || cell === "" ? none : String(cell);

/** Characters of a terminal's own language would move the cursor: names and messages are other people's. */
export const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, " ");

function cellOf<Row>(column: Column<Row>, row: Row): string {
  const text = printable(textOf(column.value(row)));
  const style = column.style?.(row);
  return style === undefined ? text : styled(style, text);
}

/** Rows under their titles, without borders; trailing blanks are cut. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const drawn = new Table({
    chars: borders,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    colAligns: columns.map(({ right }) => (right === true ? "right" : "left")),
  });
  drawn.push(columns.map(({ title }) => title));
  for (const row of rows) drawn.push(columns.map((column) => cellOf(column, row)));
  return drawn
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

export function structured(value: unknown, format: "json" | "yaml"): string {
  if (format === "json") return JSON.stringify(value, undefined, 2);
  return dump(JSON.parse(JSON.stringify(value)), { lineWidth: 120, noRefs: true }).trimEnd();
}

const units = [
  { seconds: 86_400, name: "d" },
  { seconds: 3600, name: "h" },
  { seconds: 60, name: "m" },
] as const;

/** How long ago, as kubectl says it: 3d4h, 5h12m, 8m, 12s. */
export function ageText(instant: string | null | undefined, now = Date.now()): string {
  if (instant === null || instant === undefined) return none;
  const total = Math.max(0, Math.floor((now - Date.parse(instant)) / 1000));
  const [index, unit] = [...units.entries()].find(([, one]) => total >= one.seconds) ?? [];
  if (index === undefined || unit === undefined) return `${total}s`;
  const whole = Math.floor(total / unit.seconds);
  const smaller = units[index + 1];
  const rest = smaller === undefined ? 0 : Math.floor((total % unit.seconds) / smaller.seconds);
  return rest === 0 || smaller === undefined
    ? `${whole}${unit.name}`
    : `${whole}${unit.name}${rest}${smaller.name}`;
}

/** With two decimals where they matter. */
export function hoursText(seconds: number): string {
  const hours = seconds / 3600;
  return hours.toFixed(hours < 10 ? 2 : 1);
}

const gibibyte = 1024 ** 3;
export const gibibytesText = (bytes: number): string => `${Math.round(bytes / gibibyte)}Gi`;
export const coresText = (millis: number): string => String(Math.round(millis / 100) / 10);
