import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { loadAll } from "js-yaml";
import { projectRoot } from "../../dev/local/paths.ts";

interface Schema {
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

interface Definition {
  readonly kind: string;
  readonly spec: {
    readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

function defaultsInLists(schema: Schema, path: string, isInList: boolean): string[] {
  return [
    ...(isInList && schema.default !== undefined ? [path] : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, inner]) =>
      defaultsInLists(inner, `${path}.${name}`, isInList),
    ),
    ...(schema.items === undefined ? [] : defaultsInLists(schema.items, `${path}[]`, true)),
  ];
}

describe("the custom resource definitions", () => {
  // kubectl's client-side apply compares lists as a whole: with a default in one, it never says "unchanged".
  it("have no defaults inside lists", () => {
    const definitions = globSync("crds/*.yaml", { cwd: projectRoot })
      .flatMap((file) => loadAll(readFileSync(join(projectRoot, file), "utf8")) as Definition[])
      .filter(({ kind }) => kind === "CustomResourceDefinition");
    expect(definitions).to.have.lengthOf(4);
    const found = definitions.flatMap(({ spec }) =>
      spec.versions.flatMap(({ schema }) => defaultsInLists(schema.openAPIV3Schema, "", false)),
    );
    expect(found).to.deep.equal([]);
  });
});
