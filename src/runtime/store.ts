/** Objects by key, with secondary indices. Only the owning reflector writes. */
export interface Store<T> {
  readonly size: number;
  get(key: string): T | undefined;
  keys(): IterableIterator<string>;
  values(): IterableIterator<T>;
  /** Adds an index over present and future objects. Throws if the name is taken. */
  addIndex(name: string, indexValues: (value: T) => readonly string[]): void;
  /** Objects whose index function returned `indexValue`. Throws on an unknown index. */
  byIndex(name: string, indexValue: string): T[];
}

class Index<T> {
  readonly #indexValues: (value: T) => readonly string[];
  readonly #members = new Map<string, Set<string>>();

  constructor(indexValues: (value: T) => readonly string[]) {
    this.#indexValues = indexValues;
  }

  keys(indexValue: string): Iterable<string> {
    return this.#members.get(indexValue) ?? [];
  }

  valuesOf(value: T): readonly string[] {
    return this.#indexValues(value);
  }

  add(key: string, indexValues: readonly string[]): void {
    for (const indexValue of indexValues) {
      const members = this.#members.get(indexValue);
      if (members) members.add(key);
      else this.#members.set(indexValue, new Set([key]));
    }
  }

  remove(key: string, value: T): void {
    for (const indexValue of this.#indexValues(value)) {
      const members = this.#members.get(indexValue);
      members?.delete(key);
      if (members?.size === 0) this.#members.delete(indexValue);
    }
  }
}

export class MemoryStore<T> implements Store<T> {
  readonly #values = new Map<string, T>();
  readonly #indices = new Map<string, Index<T>>();

  get size(): number {
    return this.#values.size;
  }

  get(key: string): T | undefined {
    return this.#values.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#values.keys();
  }

  values(): IterableIterator<T> {
    return this.#values.values();
  }

  addIndex(name: string, indexValues: (value: T) => readonly string[]): void {
    if (this.#indices.has(name)) throw new Error(`the store already has an index "${name}"`);
    const index = new Index(indexValues);
    for (const [key, value] of this.#values) index.add(key, index.valuesOf(value));
    this.#indices.set(name, index);
  }

  byIndex(name: string, indexValue: string): T[] {
    const index = this.#indices.get(name);
    if (!index) throw new Error(`the store has no index "${name}"`);
    const found: T[] = [];
    for (const key of index.keys(indexValue)) {
      const value = this.#values.get(key);
      if (value !== undefined) found.push(value);
    }
    return found;
  }

  /** Returns the previous object. Changes nothing if an index function throws. */
  set(key: string, value: T): T | undefined {
    const before = this.#values.get(key);
    const entries = [...this.#indices.values()].map(
      (index) => [index, index.valuesOf(value)] as const,
    );
    for (const [index, indexValues] of entries) {
      if (before !== undefined) index.remove(key, before);
      index.add(key, indexValues);
    }
    this.#values.set(key, value);
    return before;
  }

  /** Returns the previous object. */
  delete(key: string): T | undefined {
    const before = this.#values.get(key);
    if (before === undefined) return undefined;
    for (const index of this.#indices.values()) index.remove(key, before);
    this.#values.delete(key);
    return before;
  }
}
