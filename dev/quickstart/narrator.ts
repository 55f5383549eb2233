/** Prints the demo: numbered steps, checks and tables. */
import Table from "cli-table3";

export class StoryError extends Error {}

const isPretty = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
const paint = (code: number, text: string): string =>
  isPretty ? `\u001B[${code}m${text}\u001B[0m` : text;

const border = { head: [], border: [] };

export class Narrator {
  #steps = 0;
  #checks = 0;

  get checks(): number {
    return this.#checks;
  }

  step(title: string): void {
    this.#steps += 1;
    console.log(`\n${paint(1, `${this.#steps}. ${title}`)}`);
  }

  say(text: string): void {
    console.log(`   ${text}`);
  }

  /** Prints a passed check. Throws StoryError if it failed. */
  check(isSo: boolean, seen: string): void {
    if (!isSo) throw new StoryError(`check failed: ${seen}`);
    this.#checks += 1;
    console.log(`   ${paint(32, "✓")} ${seen}`);
  }

  table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): void {
    const table = new Table({
      head: [...head],
      style: border,
      wordWrap: true,
      colWidths: widths(head, rows),
    });
    table.push(...rows.map((row) => row.map(String)));
    console.log(
      table
        .toString()
        .split("\n")
        .map((line) => `   ${line}`)
        .join("\n"),
    );
  }
}

const widestColumn = 60;

function widths(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): number[] {
  return head.map((title, column) => {
    const lengths = rows.map((row) => String(row[column] ?? "").length);
    return Math.min(widestColumn, Math.max(title.length, ...lengths)) + 2;
  });
}
