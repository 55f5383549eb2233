/** The custom resources as `kubectl explain` and `kubectl get` show them. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { load } from "js-yaml";
import { projectRoot } from "../../../dev/local/paths.ts";

interface Schema {
  readonly description?: string;
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}
interface Column {
  readonly type: string;
  readonly priority?: number;
  readonly jsonPath: string;
}
interface Definition {
  readonly spec: {
    readonly names: { readonly plural: string };
    readonly versions: readonly {
      readonly schema: { readonly openAPIV3Schema: Schema };
      readonly additionalPrinterColumns: readonly Column[];
      readonly selectableFields?: readonly { readonly jsonPath: string }[];
    }[];
  };
}

const folder = join(projectRoot, "crds");
const definitions = readdirSync(folder)
  .filter((name) => name !== "kustomization.yaml")
  .map((name) => load(readFileSync(join(folder, name), "utf8")) as Definition);

/** Every field with its path; the API server describes metadata itself. */
function fieldsOf(schema: Schema, path: string): (readonly [string, Schema])[] {
  const nested = Object.entries(schema.properties ?? {}).flatMap(([name, field]) =>
    fieldsOf(field, `${path}.${name}`),
  );
  const items = schema.items ? fieldsOf(schema.items, `${path}[]`) : [];
  return [[path, schema], ...nested, ...items];
}

const typeAt = (schema: Schema, path: string): string | undefined =>
  fieldsOf(schema, "").find(([at]) => at === path)?.[1].type;

for (const { spec } of definitions) {
  const { plural } = spec.names;
  describe(`the definition of ${plural}`, () => {
    for (const version of spec.versions) {
      const { openAPIV3Schema: schema } = version.schema;

      it("describes every field", () => {
        const undescribed = fieldsOf(schema, plural)
          .filter(([path, { description = "" }]) => {
            return path !== `${plural}.metadata` && !/^[A-Za-z"].*\.$/.test(description);
          })
          .map(([path]) => path);
        expect(undescribed).to.deep.equal([]);
      });

      it("prints scalars only, and few of them without -o wide", () => {
        const columns = version.additionalPrinterColumns;
        expect(columns.filter(({ priority = 0 }) => priority === 0).length).to.be.at.most(9);
        for (const { jsonPath } of columns) {
          if (jsonPath.includes("[?")) continue;
          expect(typeAt(schema, jsonPath), jsonPath).not.to.be.oneOf(["array", "object"]);
        }
      });
    }
  });
}
