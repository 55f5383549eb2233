interface Entry {
  readonly key: string;
  readonly dueSeconds: number;
}

/** A binary min-heap of keys by due time; setting a key twice keeps the earlier time. */
export class DelayHeap {
  #heap: Entry[] = [];
  readonly #due = new Map<string, number>();

  get size(): number {
    return this.#due.size;
  }

  /** @returns true if this became the key's due time */
  set(key: string, dueSeconds: number): boolean {
    const known = this.#due.get(key);
    if (known !== undefined && known <= dueSeconds) return false;
    this.#due.set(key, dueSeconds);
    this.#push({ key, dueSeconds });
    return true;
  }

  nextDueSeconds(): number | undefined {
    this.#dropStale();
    return this.#heap[0]?.dueSeconds;
  }

  /** Removes and returns one key that is due. */
  takeDue(nowSeconds: number): string | undefined {
    this.#dropStale();
    const first = this.#heap[0];
    if (!first || first.dueSeconds > nowSeconds) return undefined;
    this.#pop();
    this.#due.delete(first.key);
    return first.key;
  }

  delete(key: string): void {
    this.#due.delete(key);
  }

  clear(): void {
    this.#heap = [];
    this.#due.clear();
  }

  /** An entry is stale if its key was set to an earlier time or deleted after it was pushed. */
  #dropStale(): void {
    for (let first = this.#heap[0]; first; first = this.#heap[0]) {
      if (this.#due.get(first.key) === first.dueSeconds) return;
      this.#pop();
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt];
      if (!parent || parent.dueSeconds <= entry.dueSeconds) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let at = 0;
    for (
      let childAt = this.#smallerChild(at);
      childAt !== undefined;
      childAt = this.#smallerChild(at)
    ) {
      const child = heap[childAt];
      if (!child || child.dueSeconds >= last.dueSeconds) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
  }

  #smallerChild(at: number): number | undefined {
    const left = this.#heap[at * 2 + 1];
    const right = this.#heap[at * 2 + 2];
    if (!left) return undefined;
    return right && right.dueSeconds < left.dueSeconds ? at * 2 + 2 : at * 2 + 1;
  }
}
