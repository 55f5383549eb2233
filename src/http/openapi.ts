/** The OpenAPI 3.1 document, generated from the routes and their schemas. */
import { z } from "zod";
import { routes, type Route } from "../api/http/routes.ts";
import { components } from "../api/http/schemas.ts";
import { tokenHeader } from "../api/http/identity.ts";
import { problems } from "./problem.ts";

type Json = Readonly<Record<string, unknown>>;

const referenceTo = (id: string): string => `#/components/schemas/${id}`;

/** Drops the date pattern, which repeats the format, and JavaScript's integer limits. */
function readable(schema: Json): Json {
  const { $schema: _schema, $id: _id, id: _name, ...given } = schema;
  const rest: Record<string, unknown> = given;
  if (rest["format"] === "date-time") delete rest["pattern"];
  if (rest["maximum"] === Number.MAX_SAFE_INTEGER) delete rest["maximum"];
  if (rest["minimum"] === Number.MIN_SAFE_INTEGER) delete rest["minimum"];
  return Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, tidied(value)]));
}

function tidied(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(tidied);
  return typeof value === "object" && value !== null ? readable(value as Json) : value;
}

function componentSchemas(): Json {
  const { schemas } = z.toJSONSchema(components, { uri: referenceTo, io: "input" });
  return readable(schemas);
}

function parametersOf(place: "path" | "query", schema: z.ZodObject): Json[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: "input" });
  return Object.entries(properties).map(([name, property]) => {
    const { description, ...rest } = readable(property as Json);
    return {
      name,
      in: place,
      required: place === "path" || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema: rest,
    };
  });
}

const problemResponse = {
  description: "An error (RFC 9457)",
  content: { "application/problem+json": { schema: { $ref: referenceTo("Problem") } } },
};

function operation(name: string, route: Route): Json {
  const id = components.get(route.answer)?.id;
  if (id === undefined) throw new Error(`the answer of ${name} has no name in the components`);
  return {
    get: {
      operationId: name,
      summary: route.summary,
      parameters: [
        ...parametersOf("path", route.parameters),
        ...parametersOf("query", route.query),
      ],
      responses: {
        "200": {
          description: "The answer",
          content: { "application/json": { schema: { $ref: referenceTo(id) } } },
        },
        default: problemResponse,
      },
    },
  };
}

const codes = Object.entries(problems)
  .map(([code, { status, title }]) => `- \`${code}\` (${status}): ${title}`)
  .join("\n");

export function openApiDocument(): Json {
  return {
    openapi: "3.1.0",
    info: {
      title: "Rota",
      version: "1",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
      description: `Read-only. Lists are paged: pass \`next\` of a page as \`cursor\` of the following one. Problem codes:\n\n${codes}`,
    },
    servers: [
      {
        url: "/api/v1/namespaces/rota-system/services/https:rota-operator:api/proxy",
        description: "Through the API server",
      },
      { url: "/", description: "Inside the cluster" },
    ],
    security: [{ token: [] }],
    paths: Object.fromEntries(
      Object.entries(routes).map(([name, route]) => [route.path, operation(name, route)]),
    ),
    components: {
      schemas: componentSchemas(),
      securitySchemes: {
        token: {
          type: "apiKey",
          in: "header",
          name: tokenHeader,
          description:
            "A bearer token of the cluster, preferably for the audience rota.dev; or a JWS (RFC 7515) signed with the key of a client certificate, with the certificate in x5c",
        },
      },
    },
  };
}
