/** Objects of Rota's own kinds: valid seeds, of which some fields are replaced by what the schema allows, or nearly. */
import { readDefinitions } from "../../dev/tasks/generators/definitions.ts";
import type { KubeObject } from "../../src/kube/resource.ts";
import { type Draw, OddObjects } from "./odd-objects.ts";

interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
}

interface Definition {
  readonly spec: {
    readonly names: { readonly kind: string };
    readonly versions: readonly [{ readonly schema: { readonly openAPIV3Schema: Schema } }];
  };
}

type Fields = Readonly<Record<string, unknown>>;

const texts = [
  "x",
  "low",
  "default",
  "team",
  "seed",
  "a-b",
  "0",
  "/data",
  "90m",
  "1s",
  "2147483647s",
  "596523h",
  "100Gi",
  "1",
  "7Ei",
  "00:00",
  "24:00",
  "09:30",
  "ü",
  "\u202e",
  "a\nb",
  "a\u0000b",
  "'; DROP TABLE jobs; --",
  "\u{1f600}".repeat(100),
  "",
];

/** Whether it fits what the schema itself says; rules in CEL are left to the API server. */
const fits = ({ pattern, maxLength = Number.POSITIVE_INFINITY }: Schema, text: string): boolean =>
  Array.from(text).length <= maxLength && (pattern === undefined || new RegExp(pattern).test(text));

/** How often a value may break the schema: most objects are to be accepted. */
const careless = 0.03;
const maxMutations = 3;

export class SchemaMutations {
  readonly #odd: OddObjects;
  readonly #specs: ReadonlyMap<string, Schema>;

  constructor(draw: Draw) {
    this.#odd = new OddObjects(draw);
    this.#specs = new Map(
      readDefinitions<Definition>().map(({ spec }) => [
        spec.names.kind,
        spec.versions[0].schema.openAPIV3Schema.properties?.["spec"] ?? {},
      ]),
    );
  }

  /** The seed with one to three fields of its spec replaced, added or left out. */
  mutated(seed: KubeObject): KubeObject {
    const schema = this.#specs.get(seed.kind ?? "") ?? {};
    let spec = seed["spec"] as Fields;
    for (let left = 1 + this.#odd.count(maxMutations); left > 0; left -= 1)
      spec = this.#mutatedFields(schema, spec);
    return { ...seed, spec };
  }

  #mutatedFields({ properties = {}, required = [] }: Schema, fields: Fields): Fields {
    const name = this.#odd.pick(Object.keys(properties));
    const schema = properties[name] ?? {};
    const former = fields[name];
    if (former !== undefined && !required.includes(name) && this.#odd.chance(0.2)) {
      const { [name]: _left, ...rest } = fields;
      return rest;
    }
    const isDeeper =
      schema.properties !== undefined && typeof former === "object" && former !== null;
    const value =
      isDeeper && this.#odd.chance(0.5)
        ? this.#mutatedFields(schema, former as Fields)
        : this.#value(name, schema);
    return { ...fields, [name]: value };
  }

  #value(name: string, schema: Schema): unknown {
    if (name === "template") return { spec: this.#odd.podSpec() };
    if (name === "content") return this.#content();
    if (schema.enum !== undefined) return this.#odd.pick(schema.enum);
    switch (schema.type) {
      case "boolean":
        return this.#odd.chance(0.5);
      case "integer":
        return this.#integer(schema);
      case "string":
        return this.#text(schema);
      case "array":
        return this.#list(name, schema);
      default:
        return this.#fields(schema);
    }
  }

  #integer({ minimum = 0, maximum = 2 ** 31 }: Schema): number {
    if (this.#odd.chance(careless)) return this.#odd.pick([minimum - 1, maximum + 1, 1.5]);
    return this.#odd.pick([minimum, minimum + 1, maximum - 1, maximum]);
  }

  #text(schema: Schema): string {
    const fitting = texts.filter((text) => fits(schema, text));
    return this.#odd.pick(this.#odd.chance(careless) || fitting.length === 0 ? texts : fitting);
  }

  #list(name: string, { minItems = 0, maxItems = 3, items = {} }: Schema): unknown[] {
    const length = minItems + this.#odd.count(Math.min(maxItems - minItems, 3) + 1);
    return Array.from({ length }, () => this.#value(name, items));
  }

  #fields({ properties = {}, required = [] }: Schema): Fields {
    const names = Object.keys(properties).filter(
      (name) => required.includes(name) || this.#odd.chance(0.5),
    );
    return Object.fromEntries(
      names.map((name) => [name, this.#value(name, properties[name] ?? {})]),
    );
  }

  #content(): unknown {
    const text = this.#odd.pick(texts);
    return this.#odd.pick<unknown>([
      null,
      {},
      [],
      1e308,
      -0,
      text,
      { [text]: { a: [null, text] } },
    ]);
  }
}
