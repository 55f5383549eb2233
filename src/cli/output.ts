/** Tables as kubectl draws them, JSON, YAML; colours on a terminal alone. */
import { styleText } from "node:util";
import Table from "cli-table3";
import { dump } from "js-yaml";
import { elapsedText } from "../domain/text.ts";

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

/** How long ago an RFC 3339 time is, as kubectl prints ages; "-" when there is none. */
export const ageText = (instant: string | null | undefined, now = Date.now()): string =>
  instant === null || instant === undefined
    ? none
    : elapsedText((now - Date.parse(instant)) / 1000);
