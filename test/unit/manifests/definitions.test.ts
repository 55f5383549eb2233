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
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-validations"?: readonly { readonly rule: string }[];
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

/** Bounded elsewhere, with the reason. */
const unbounded: Readonly<Record<string, string>> = {
  "jobs.spec.template":
    "a pod: the API server checks it in a dry run, Rota its amounts and grace periods",
  "configcommits.spec.content":
    "any JSON: its size and depth are checked when it is brought to canonical form",
};
/** Of the server's own: every object has them. */
const ofServer = /^\w+\.(apiVersion|kind|metadata)$/;
/** Written by the operator alone, which bounds what it writes. */
const ofStatus = /^\w+\.status\b/;

function isBounded(schema: Schema): boolean {
  if (schema.enum !== undefined) return true;
  switch (schema.type) {
    case "boolean":
    case "object":
      return true;
    case "integer":
      return schema.minimum !== undefined && schema.maximum !== undefined;
    case "string":
      return schema.maxLength !== undefined;
    case "array":
      return schema.maxItems !== undefined;
    default:
      return false;
  }
}

/** Whether NUL, which PostgreSQL cannot store, is refused: by a pattern, or by a rule for all that may be there. */
const refusesNul = ({ pattern, "x-kubernetes-validations": rules = [] }: Schema): boolean =>
  (pattern !== undefined && !new RegExp(pattern).test("a\0b")) ||
  rules.some(({ rule }) => /matches|isQuantity/.test(rule));

/** Compared with names of objects that exist, and never stored as they are. */
const lookedUp = /\.(priorityClassName|parent|configRef\.(commit|tag)|storages\[\]\.name)$/;

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

      const ofSpec = fieldsOf(schema, plural).filter(
        ([path]) => !ofServer.test(path) && !ofStatus.test(path),
      );

      it("bounds every field of the specification", () => {
        const open = ofSpec.filter(
          ([path, field]) =>
            !(path in unbounded) &&
            (field["x-kubernetes-preserve-unknown-fields"] === true || !isBounded(field)),
        );
        expect(open.map(([path]) => path)).to.deep.equal([]);
      });

      it("takes no text that cannot be stored", () => {
        const texts = ofSpec.filter(
          ([path, { type, enum: values }]) =>
            type === "string" && values === undefined && !lookedUp.test(path),
        );
        expect(texts.filter(([, field]) => !refusesNul(field)).map(([path]) => path)).to.deep.equal(
          [],
        );
      });

      it("bounds durations and amounts by rules", () => {
        const rules = ofSpec.flatMap(([path, field]) =>
          (field["x-kubernetes-validations"] ?? []).map(({ rule }) => [path, rule] as const),
        );
        for (const [path, rule] of rules) {
          if (/matches\('\^\(\[0-9\]/.test(rule))
            expect(rule, path).to.match(/duration\(self\) <= /);
          if (rule.includes("isQuantity")) expect(rule, path).to.match(/isLessThan\(/);
        }
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
