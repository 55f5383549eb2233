/** A client that measures each statement, from sending it to receiving its result. */
import { Client } from "pg";

/**
 * `statement` is the name of a prepared statement, otherwise the statement's first word; `error` is the violated
 * constraint, otherwise the SQLSTATE, otherwise "connection". Both have few values, so they can be metric labels.
 */
export type OnStatement = (statement: string, seconds: number, error: string | undefined) => void;

const words = new Set([
  "select",
  "insert",
  "update",
  "delete",
  "with",
  "begin",
  "commit",
  "rollback",
]);

/** The label for the first argument of `Client.query`. */
export function statementLabel(given: unknown): string {
  if (typeof given === "object" && given !== null) {
    if ("name" in given && typeof given.name === "string" && given.name !== "") return given.name;
    return "text" in given ? statementLabel(given.text) : "other";
  }
  const [, word = ""] = /^\s*([a-z]+)/i.exec(typeof given === "string" ? given : "") ?? [];
  return words.has(word.toLowerCase()) ? word.toLowerCase() : "other";
}

const textOf = (error: object, field: string): string => {
  const value: unknown = Reflect.get(error, field);
  return typeof value === "string" ? value : "";
};

/** The label of an error; undefined without one. */
export function errorLabel(error: unknown): string | undefined {
  if (error === undefined || error === null) return undefined;
  if (typeof error !== "object") return "connection";
  const state = textOf(error, "code");
  return textOf(error, "constraint") || (/^[0-9A-Z]{5}$/.test(state) ? state : "connection");
}

type Callback = (error: unknown, ...results: unknown[]) => void;

/** A class for the connection pool's option `Client`. */
export function measuredClient(onStatement: OnStatement): typeof Client {
  class MeasuredClient extends Client {
    // The types of Client.query's overloads do not distinguish them, so all arguments are passed on unchanged.
    override query(...given: unknown[]): never {
      const started = performance.now();
      const note = (error?: unknown): void => {
        const seconds = (performance.now() - started) / 1000;
        onStatement(statementLabel(given[0]), seconds, errorLabel(error));
      };
      const callback = given.at(-1);
      const passedOn =
        typeof callback === "function"
          ? [...given.slice(0, -1), notedFirst(note, callback as Callback)]
          : given;
      const result: unknown = Reflect.apply(super.query.bind(this), undefined, passedOn);
      if (result instanceof Promise) result.then(() => note(), note);
      return result as never;
    }
  }
  return MeasuredClient;
}

const notedFirst =
  (note: (error: unknown) => void, callback: Callback): Callback =>
  (error, ...results) => {
    note(error);
    callback(error, ...results);
  };
