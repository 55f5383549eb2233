/**
 * Keys in one line for each namespace, taken from the lines in turn: who adds thousands of keys makes only their own line
 * longer. Keys without a namespace share one line.
 */
import { Fifo } from "./fifo.ts";

const namespaceOf = (key: string): string => key.slice(0, Math.max(0, key.indexOf("/")));

export class FairLines {
  /** Those that have keys; the first is next. */
  readonly #lines = new Map<string, Fifo<string>>();

  push(key: string): void {
    const namespace = namespaceOf(key);
    const line = this.#lines.get(namespace);
    if (line !== undefined) return line.push(key);
    const first = new Fifo<string>();
    first.push(key);
    this.#lines.set(namespace, first);
  }

  shift(): string | undefined {
    const [next] = this.#lines;
    if (next === undefined) return undefined;
    const [namespace, line] = next;
    const key = line.shift();
    this.#lines.delete(namespace);
    if (line.size > 0) this.#lines.set(namespace, line);
    return key;
  }

  clear(): void {
    this.#lines.clear();
  }
}
