/**
 * Draws the output of the quickstart as a picture for the README:
 * `npm run quickstart -- --exit > story.txt && node_modules/.bin/node dev/tasks/quickstart-svg.ts story.txt docs/quickstart.svg`
 */
import { readFileSync, writeFileSync } from "node:fs";

const characterWidth = 7.8;
const lineHeight = 17;
const margin = 18;
/** The first step in the picture: the preemption. */
const firstStep = /^6\. /;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function styleOf(line: string): string {
  if (/^\d+\. /.test(line)) return "fill:#ffffff;font-weight:bold";
  if (/^\s+✓/.test(line)) return "fill:#7ee787";
  return "fill:#c9d1d9";
}

/** Rules between table rows are left out. */
const isRule = (line: string): boolean => /^\s*├[─┼]+┤$/.test(line);

function draw(lines: readonly string[]): string {
  const columns = Math.max(...lines.map((line) => line.length));
  const width = Math.ceil(columns * characterWidth + 2 * margin);
  const height = lines.length * lineHeight + 2 * margin;
  const texts = lines.map((line, index) => {
    const y = margin + (index + 1) * lineHeight - 4;
    return `<text x="${margin}" y="${y}" style="${styleOf(line)}">${escaped(line)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="13" xml:space="preserve">
${texts.join("\n")}
</g>
</svg>
`;
}

const [from, to] = process.argv.slice(2);
if (from === undefined || to === undefined)
  throw new Error("usage: quickstart-svg.ts STORY.txt PICTURE.svg");
const all = readFileSync(from, "utf8").split("\n");
const start = all.findIndex((line) => firstStep.test(line));
const end = all.findIndex((line) => line.startsWith("Done: "));
if (start < 0 || end < start)
  throw new Error(`${from} does not hold the whole output of the quickstart`);
writeFileSync(to, draw(all.slice(start, end + 1).filter((line) => !isRule(line))));
