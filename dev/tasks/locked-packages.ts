/** The packages of package-lock.json that are installed with the program, not only to develop it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "./shell.ts";

export interface LockedPackage {
  readonly name: string;
  readonly version: string;
  /** SPDX expression; undefined when the package states none. */
  readonly license: string | undefined;
  /** Folder below the project's root. */
  readonly path: string;
}

interface Entry {
  readonly version?: string;
  readonly license?: string;
  readonly dev?: boolean;
}

const marker = "node_modules/";

/** @param lock text of a package-lock.json, version 3 */
export function productionPackages(lock: string): LockedPackage[] {
  const { packages } = JSON.parse(lock) as { readonly packages: Readonly<Record<string, Entry>> };
  return Object.entries(packages)
    .filter(([path, { dev }]) => path.includes(marker) && dev !== true)
    .map(([path, { version = "", license }]) => ({
      name: path.slice(path.lastIndexOf(marker) + marker.length),
      version,
      license,
      path,
    }));
}

export const lockedPackages = (): LockedPackage[] =>
  productionPackages(readFileSync(join(projectRoot, "package-lock.json"), "utf8"));
