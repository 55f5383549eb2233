/**
 * Canonical JSON: strict parsing, the text of RFC 8785, and its SHA-256. Rejects what JavaScript or jsonb would alter
 * silently: rounded numbers, duplicate keys, lone surrogates, NUL.
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

const numberPattern = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** A number's decimal value as text: sign, digits without zeros around, exponent. Equal values, equal texts. */
function decimalOf(token: string): string {
  const [, sign, whole = "", fraction = "", exponent = "0"] = numberPattern.exec(token) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, "");
  if (digits === "") return "0";
  const significant = digits.replace(/0+$/, "");
  const power = Number(exponent) - fraction.length + digits.length - significant.length;
  return `${sign}${significant}e${power}`;
}

function checkNumber(token: string): void {
  const value = Number(token);
  if (!Number.isFinite(value) || decimalOf(token) !== decimalOf(String(value))) {
    refuse(`the number ${token} would be rounded to ${value}: write it as a string`);
  }
}

function checkString(text: string): void {
  if (!text.isWellFormed()) refuse(`the string ${JSON.stringify(text)} has a lone surrogate`);
  if (text.includes("\0")) refuse(`the string ${JSON.stringify(text)} has a NUL character`);
}

const tokenPattern = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;
const numberStart = /^[-\d]/;

/** Checks the tokens of a valid JSON text for content that JSON.parse would lose. */
function checkTokens(text: string): void {
  const open: Set<string>[] = [];
  const tokens = text.match(tokenPattern) ?? [];
  for (const [index, token] of tokens.entries()) {
    if (token === "{" || token === "[") open.push(new Set());
    else if (token === "}" || token === "]") open.pop();
    else if (numberStart.test(token)) checkNumber(token);
    else if (token.startsWith('"') && tokens[index + 1] === ":") checkKey(token, open.at(-1));
  }
}

function checkKey(token: string, keys: Set<string> | undefined): void {
  const key = String(JSON.parse(token));
  if (keys?.has(key)) refuse(`duplicate key ${token}`);
  keys?.add(key);
}

function parse(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch (error) {
    return refuse(`invalid JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function checkLength(text: string): void {
  const bytes = Buffer.byteLength(text);
  if (bytes <= maxTextBytes) return;
  refuse(
    `${bytes} bytes exceed the ${maxTextBytes} bytes of a ConfigMap: split the content, or move large parts to a storage`,
  );
}

/** Parses JSON text. Throws RotaError InvalidConfiguration, which names the problem. */
export function parseStrictly(text: string): JsonValue {
  checkLength(text);
  const value = parse(text);
  checkTokens(text);
  checkValue(value, 0);
  return value;
}

/** For values parsed elsewhere: integers beyond 2^53 may have been rounded. */
function checkValue(value: JsonValue, depth: number): void {
  if (depth > deepestNesting) refuse(`nested more than ${deepestNesting} levels deep`);
  if (typeof value === "string") return checkString(value);
  if (typeof value !== "object" || value === null) return undefined;
  for (const [key, item] of Object.entries(value)) {
    checkString(key);
    checkValue(item, depth + 1);
  }
  return undefined;
}

function checkParsedNumbers(value: JsonValue): void {
  if (typeof value === "number" && (!Number.isFinite(value) || isUnsafeInteger(value))) {
    refuse(`the number ${value} may have been rounded: write it as a string`);
  }
  if (typeof value === "object" && value !== null) {
    for (const item of Object.values(value)) checkParsedNumbers(item);
  }
}

const isUnsafeInteger = (value: number): boolean =>
  Number.isInteger(value) && !Number.isSafeInteger(value);

function canonicalOf(value: JsonValue): CanonicalJson {
  const canonical = serialize(value) ?? refuse("not a JSON value");
  checkLength(canonical);
  return { canonical, hash: createHash("sha256").update(canonical, "utf8").digest("hex") };
}

/** Canonical form of JSON text. Throws RotaError InvalidConfiguration. */
export function canonicalizeText(text: string): CanonicalJson {
  return canonicalOf(parseStrictly(text));
}

/**
 * Canonical form of a parsed value. Integers beyond 2^53 are rejected, because they may have been rounded. Throws
 * RotaError InvalidConfiguration.
 */
export function canonicalizeValue(value: JsonValue): CanonicalJson {
  checkValue(value, 0);
  checkParsedNumbers(value);
  return canonicalOf(value);
}
