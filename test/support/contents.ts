/** Contents of configurations for tests, and limits that no test exceeds by chance. */
import type { CommitLimits } from "../../src/db/configs/commits.ts";
import {
  type CanonicalJson,
  canonicalizeValue,
  type JsonValue,
} from "../../src/domain/canonical-json.ts";

export const contentOf = (text: string): CanonicalJson =>
  canonicalizeValue(JSON.parse(text) as JsonValue);

export const ampleLimits: CommitLimits = { commits: 10_000, bytes: 2 ** 30 };
