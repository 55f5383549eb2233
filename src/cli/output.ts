/** Tables in kubectl's form, JSON, YAML; colours only on a terminal. */
import { styleText } from "node:util";
import Table from "cli-table3";
import { dump } from "js-yaml";
import { elapsedText } from "../domain/text.ts";

export type Format = "table" | "json" | "yaml";
type Style = Parameters<typeof styleText>[0];

/** styleText respects NO_COLOR, FORCE_COLOR and the terminal. */
export const styled = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout });

export type Cell = string | number | null | undefined;

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => Cell;
  readonly right?: boolean;
  readonly style?: (row: Row) => Style | undefined;
  /** Cut to the width that the other columns leave on a terminal. */
  readonly flexible?: boolean;
}

const none = "-";
/** Narrower, a message is of no use: the terminal wraps the line instead. */
const minFlexibleWidth = 24;
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

/** Without control characters, which could move the cursor: names and messages are untrusted. */
export const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, " ");

const plainCell = <Row>({ value }: Column<Row>, row: Row): string => printable(textOf(value(row)));

/** The text, or as much of it as fits, with an ellipsis. */
export const shortened = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;

/** What a terminal of this width leaves for the flexible column; unlimited where there is neither. */
function flexibleWidth<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width: number,
): number {
  const others = columns.filter(({ flexible }) => flexible !== true);
  const used = others.reduce((sum, column) => {
    const lengths = rows.map((row) => plainCell(column, row).length);
    return sum + Math.max(column.title.length, ...lengths) + borders.middle.length;
  }, 0);
  return Math.max(minFlexibleWidth, width - used);
}

/**
 * Rows under their titles, without borders and trailing blanks.
 * @param width of the terminal, in characters; unlimited elsewhere
 */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  width = process.stdout.columns ?? Number.POSITIVE_INFINITY,
): string {
  const most = flexibleWidth(rows, columns, width);
  const cellOf = (column: Column<Row>, row: Row): string => {
    const plain = plainCell(column, row);
    const text = column.flexible === true ? shortened(plain, most) : plain;
    const style = column.style?.(row);
    return style === undefined ? text : styled(style, text);
  };
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

/** For -o json and -o yaml; without a trailing line break. */
export function structured(value: unknown, format: "json" | "yaml"): string {
  if (format === "json") return JSON.stringify(value, undefined, 2);
  return dump(JSON.parse(JSON.stringify(value)), { lineWidth: 120, noRefs: true }).trimEnd();
}

/** How long ago an RFC 3339 time is, as kubectl prints ages; "-" when there is none. */
export const ageText = (instant: string | null | undefined, now = Date.now()): string =>
  instant === null || instant === undefined
    ? none
    : elapsedText((now - Date.parse(instant)) / 1000);
