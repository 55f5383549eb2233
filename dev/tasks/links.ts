/** `node dev/tasks/links.ts`: every relative link in the documentation leads to a file, and to a heading. Part of `npm run check`. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { projectRoot } from "./shell.ts";

const fence = /^\s*(?:```|~~~)/;
const heading = /^#{1,6}\s+(.*?)\s*#*$/;
/** `[text](target)` and `![alt](target)`, the target without a title. */
const link = /\[[^\]]*\]\(\s*([^)\s]+)[^)]*\)/g;
/** `[text](https://…)` and `mailto:`: not checked, since the check needs no network. */
const external = /^[a-z][a-z+.-]*:/i;

/** The lines of a page, with those of code blocks emptied: line numbers stay. */
function proseOf(text: string): string[] {
  let isCode = false;
  return text.split("\n").map((line) => {
    const isFence = fence.test(line);
    if (isFence) isCode = !isCode;
    return isFence || isCode ? "" : line;
  });
}

/** As GitHub makes them: lower case, without punctuation, hyphens for spaces. */
const slugOf = (title: string): string =>
  title
    .replaceAll(link, (whole) => whole.slice(whole.indexOf("[") + 1, whole.indexOf("]")))
    .toLowerCase()
    .replaceAll(/[^\p{Letter}\p{Number}\s_-]/gu, "")
    .replaceAll(/\s/g, "-");

/** The anchors of a page's headings; the second of the same words ends in `-1`. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>();
  const seen = new Map<string, number>();
  for (const line of proseOf(text)) {
    const [, title] = heading.exec(line) ?? [];
    if (title === undefined) continue;
    const slug = slugOf(title);
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

/** Every file, and every folder above one. */
function pathsOf(files: Iterable<string>): Set<string> {
  const paths = new Set<string>(["."]);
  for (const file of files) {
    for (let path = file; path !== "."; path = dirname(path)) paths.add(path);
  }
  return paths;
}

/** Links of the pages (Markdown by path from the root) that lead nowhere, as `file:line: target: why`. */
export function brokenLinks(
  pages: ReadonlyMap<string, string>,
  otherFiles: ReadonlySet<string>,
): string[] {
  const paths = pathsOf([...pages.keys(), ...otherFiles]);
  const anchors = new Map([...pages].map(([page, text]) => [page, anchorsOf(text)]));

  const problemOf = (page: string, target: string): string | undefined => {
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), decodeURI(path)).replace(/\/$/, "");
    if (!paths.has(file)) return "there is no such file";
    const isMissing = anchor !== undefined && anchors.get(file)?.has(anchor) === false;
    return isMissing ? "the page has no such heading" : undefined;
  };

  return [...pages].flatMap(([page, text]) =>
    proseOf(text).flatMap((line, index) =>
      [...line.replaceAll(/`[^`]*`/g, "").matchAll(link)].flatMap(([, target = ""]) => {
        const problem = external.test(target) ? undefined : problemOf(page, target);
        return problem === undefined ? [] : [`${page}:${index + 1}: ${target}: ${problem}`];
      }),
    ),
  );
}

/** What git knows or would take up: no build output, no installed packages. */
function projectFiles(): string[] {
  const options = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const listed = execFileSync("git", options, { cwd: projectRoot, encoding: "utf8" });
  return listed.split("\0").filter((file) => file !== "" && existsSync(join(projectRoot, file)));
}

if (import.meta.main) {
  const files = projectFiles();
  const pages = files.filter((file) => file.endsWith(".md"));
  const texts = pages.map((file) => [file, readFileSync(join(projectRoot, file), "utf8")] as const);
  const broken = brokenLinks(new Map(texts), new Set(files));
  for (const line of broken) console.error(line);
  if (broken.length > 0) process.exitCode = 1;
}
