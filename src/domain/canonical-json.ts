/**
 * Canonical JSON: the text of RFC 8785, and its SHA-256. Rejects what JavaScript or jsonb would alter silently: rounded
 * integers, lone surrogates, NUL.
 */
import { createHash } from "node:crypto";
import serialize from "canonicalize";
import { RotaError } from "../errors.ts";

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

export interface CanonicalJson {
  readonly canonical: string;
  /** SHA-256 of the canonical text in UTF-8, 64 hexadecimal digits. */
  readonly hash: string;
}

/** Maximum size of all values of a ConfigMap (core/v1 MaxSecretSize). A custom resource may be larger. */
export const maxTextBytes = 1024 * 1024;
const deepestNesting = 100;

const refuse = (message: string): never => {
  throw new RotaError("InvalidConfiguration", message);
};

function checkString(text: string): void {
  if (!text.isWellFormed()) refuse(`the string ${JSON.stringify(text)} has a lone surrogate`);
  if (text.includes("\0")) refuse(`the string ${JSON.stringify(text)} has a NUL character`);
}

function checkLength(text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxTextBytes) return;
  refuse(
    `${bytes} bytes exceed the ${maxTextBytes} bytes of a ConfigMap: split the content, or move large parts to a storage`,
  );
}

const isUnsafeInteger = (value: number): boolean =>
  Number.isInteger(value) && !Number.isSafeInteger(value);

function checkNumber(value: number): void {
  if (Number.isFinite(value) && !isUnsafeInteger(value)) return;
  refuse(`the number ${value} may have been rounded: write it as a string`);
}

function checkValue(value: JsonValue, depth: number): void {
  if (depth > deepestNesting) refuse(`nested more than ${deepestNesting} levels deep`);
  if (typeof value === "number") return checkNumber(value);
  if (typeof value === "string") return checkString(value);
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, item] of Object.entries(value)) {
    checkString(key);
    checkValue(item, depth + 1);
  }
  return undefined;
}

/**
 * Canonical form of a parsed value. Integers beyond 2^53 are rejected, because they may have been rounded. Throws
 * RotaError InvalidConfiguration.
 */
export function canonicalizeValue(value: JsonValue): CanonicalJson {
  checkValue(value, 0);
  const canonical = serialize(value) ?? refuse("not a JSON value");
  checkLength(canonical);
  return { canonical, hash: createHash("sha256").update(canonical, "utf8").digest("hex") };
}
