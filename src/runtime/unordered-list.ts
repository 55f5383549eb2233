/** An item stores its index in the list. */
export interface ListItem {
  /** Managed by the list. */
  at: number;
}

/**
 * An unordered list with insertion and removal in constant time. Not a Set: V8 replaces the table of a Set after every few
 * additions and removals, and old tables keep their former items alive until the next full collection (25 MB after 50,000
 * short reconciles).
 */
export class UnorderedList<T extends ListItem> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    item.at = this.#items.length;
    this.#items.push(item);
  }

  /** Moves the last item to the index of the removed one. */
  remove(item: T): void {
    const last = this.#items.pop();
    if (last === undefined || last === item) return;
    last.at = item.at;
    this.#items[item.at] = last;
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#items.values();
  }
}
