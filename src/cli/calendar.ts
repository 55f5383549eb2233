/** A week as a calendar: days as rows, hours as columns, the quantity in each cell. */
import { days, quantityAt, type QuantityWindow } from "../domain/windows.ts";
import { styled } from "./output.ts";

const hourSeconds = 3600;
const hours = Array.from({ length: 24 }, (_, hour) => hour);
const cellWidth = 3;
const dayWidth = 5;

interface Cell {
  readonly most: number;
  /** The quantity changes within the hour. */
  readonly changes: boolean;
}

function cellOf(windows: readonly QuantityWindow[], start: number): Cell {
  const edges = windows
    .flatMap((window) => [window.start, window.end])
    .filter((edge) => edge > start && edge < start + hourSeconds);
  const quantities = [start, ...edges].map((second) => quantityAt(windows, second));
  const most = Math.max(...quantities);
  return { most, changes: quantities.some((quantity) => quantity !== most) };
}

const kilo = 1000;
const short = (quantity: number): string =>
  quantity < kilo ? String(quantity) : `${Math.round(quantity / kilo)}k`;

function cellText({ most, changes }: Cell, highest: number): string {
  const text = most === 0 && !changes ? "·" : `${changes ? "~" : ""}${short(most)}`;
  const padded = text.padStart(cellWidth);
  if (most === 0) return styled("dim", padded);
  return styled(most === highest ? ["green", "bold"] : "green", padded);
}

/** Each number is the hour's maximum; `~` marks hours in which the quantity changes. */
export function calendarText(windows: readonly QuantityWindow[]): string {
  const highest = Math.max(0, ...windows.map(({ quantity }) => quantity));
  const head = `${" ".repeat(dayWidth)}${hours.map((hour) => String(hour).padStart(2, "0").padStart(cellWidth)).join("")}`;
  const rows = days.map((day, index) => {
    const cells = hours.map((hour) => cellOf(windows, (index * 24 + hour) * hourSeconds));
    return `${day.padEnd(dayWidth)}${cells.map((cell) => cellText(cell, highest)).join("")}`;
  });
  return [head, ...rows].join("\n");
}
