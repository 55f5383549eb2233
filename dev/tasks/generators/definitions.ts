/** The custom resources as crds/kustomization.yaml lists them: what is not listed is not installed either. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { projectRoot } from "../shell.ts";

const folder = join(projectRoot, "crds");

const read = (file: string): unknown => load(readFileSync(join(folder, file), "utf8"));

/** Definition is the part of a CustomResourceDefinition that the caller looks at. */
export function readDefinitions<Definition>(): Definition[] {
  const { resources } = read("kustomization.yaml") as { readonly resources: readonly string[] };
  return resources.map((file) => read(file) as Definition);
}
