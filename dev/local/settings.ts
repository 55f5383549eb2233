/** Arguments of `local:up` and `local:down`. */
import { parseArgs } from "node:util";
import { maxRealNodes } from "./real-nodes/addresses.ts";

export interface UpArguments {
  readonly nodes: number;
  readonly gpusPerNode: number;
  /** Beside the simulated ones. */
  readonly realNodes: number;
}

/** Invalid arguments; the message is all that the user sees. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

const maxNodes = 5_000;
const maxGpus = 64;

export function parseUpArguments(args: readonly string[]): UpArguments {
  const values = parse(args, {
    nodes: { type: "string" },
    "gpus-per-node": { type: "string" },
    "real-nodes": { type: "string" },
  });
  return {
    nodes: wholeNumber("--nodes", values["nodes"], 3, maxNodes),
    gpusPerNode: wholeNumber("--gpus-per-node", values["gpus-per-node"], 8, maxGpus),
    realNodes: wholeNumber("--real-nodes", values["real-nodes"], 0, maxRealNodes),
  };
}

export function parseDownArguments(args: readonly string[]): { readonly remove: boolean } {
  const values = parse(args, { delete: { type: "boolean" } });
  return { remove: values["delete"] === true };
}

type Options = Readonly<Record<string, { readonly type: "string" | "boolean" }>>;

function parse(args: readonly string[], options: Options) {
  try {
    return parseArgs({ args: [...args], options, strict: true }).values;
  } catch (error) {
    // The first sentence names the argument; the rest is advice for other cases.
    const [reason] = (error instanceof Error ? error.message : String(error)).split(". ");
    const known = Object.keys(options).map((name) => `--${name}`);
    throw new UsageError(`${reason}; allowed arguments: ${known.join(", ")}`);
  }
}

function wholeNumber(
  name: string,
  value: string | boolean | undefined,
  fallback: number,
  max: number,
): number {
  if (value === undefined) return fallback;
  const parsed = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (parsed <= max) return parsed;
  throw new UsageError(`${name} must be an integer from 0 to ${max}, not "${value}"`);
}
