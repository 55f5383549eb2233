/** The licences of the packages in a bundle, which ask to be passed on with it. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Metafile } from "esbuild";
import { lockedPackages, type LockedPackage } from "./locked-packages.ts";
import { projectRoot } from "./shell.ts";

/** node_modules/a/node_modules/@b/c/lib/d.js -> node_modules/a/node_modules/@b/c */
const folderOf = (input: string): string | undefined =>
  /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];

function noticeOf({ name, version, license, path }: LockedPackage): string {
  const files = globSync("{LICEN[CS]E,LICEN[CS]E.*,licen[cs]e,licen[cs]e.*,COPYING,NOTICE*}", {
    cwd: join(projectRoot, path),
  }).sort();
  const texts = files.map((file) => readFileSync(join(projectRoot, path, file), "utf8").trim());
  return [`${name} ${version} (${license ?? "no licence stated"})`, ...texts].join("\n\n");
}

const separator = `\n\n${"-".repeat(80)}\n\n`;

export function thirdPartyNotices({ inputs }: Metafile): string {
  const folders = new Set(Object.keys(inputs).map(folderOf));
  const bundled = lockedPackages().filter(({ path }) => folders.has(path));
  return `${bundled.map(noticeOf).join(separator)}\n`;
}
