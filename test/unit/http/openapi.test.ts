import { Validator } from "@seriousme/openapi-schema-validator";
import { expect } from "chai";
import { routes } from "../../../src/api/http/routes.ts";
import { openApiDocument } from "../../../src/http/openapi.ts";

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
}
interface Document {
  readonly paths: Readonly<
    Record<string, { readonly get: { operationId: string; parameters: readonly Parameter[] } }>
  >;
}

describe("the OpenAPI document", () => {
  const document = openApiDocument() as unknown as Document;

  it("is valid by the specification", async () => {
    const result = await new Validator().validate(JSON.parse(JSON.stringify(document)));
    expect(result.errors ?? []).to.deep.equal([]);
    expect(result.valid).to.equal(true);
  });

  it("has every route, with each part of its path described", () => {
    expect(Object.keys(document.paths)).to.have.lengthOf(Object.keys(routes).length);
    for (const [path, { get }] of Object.entries(document.paths)) {
      const parts = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const described = get.parameters.filter((one) => one.in === "path").map(({ name }) => name);
      expect(described).to.have.members(parts);
    }
  });

  it("has no dangling references", () => {
    const text = JSON.stringify(document);
    for (const [, id = ""] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)) {
      expect(text).to.contain(`"${id}":{`);
    }
  });
});
