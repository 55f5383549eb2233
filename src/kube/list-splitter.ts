import { ChunkBuffer } from "./chunk-buffer.ts";

/** The ASCII that JSON is made of; in UTF-8 no byte of another character looks like it. */
const quote = 0x22;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

const itemsNamed = /"items"\s*:\s*$/;
/** Brackets open between two items: the list's and the array's. */
const itemsDepth = 2;
const maxEnvelopeBytes = 1024 * 1024;

/**
 * Cuts the JSON of a list (`{"kind": ..., "metadata": {...}, "items": [{...}, ...]}`) into the texts of its items while it
 * arrives, so that a page is never held whole: parsed at once, a page of 500 outlives the young generation and leaves the
 * heap at twice its size. Knows as much of JSON as it takes to find where an object ends.
 */
export class ListSplitter {
  readonly #item = new ChunkBuffer();
  /** As latin1: a character of several bytes may be cut by a chunk's end. */
  #envelope = "";
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #isInItems = false;

  /**
   * @returns the texts of the items that ended in this chunk
   * @throws RangeError on an item longer than 32 MiB, or as much around the items as no list has
   */
  push(chunk: Buffer): string[] {
    const items: string[] = [];
    let start = 0;
    for (
      let at = this.#isInString ? this.#endOfString(chunk, 0) + 1 : 0;
      at < chunk.length;
      at += 1
    ) {
      const byte = chunk[at];
      if (byte === quote) at = this.#endOfString(chunk, at + 1);
      else if (byte === openBrace) start = this.#open(start, at);
      else if (byte === openBracket) start = this.#openArray(chunk, start, at);
      else if (byte === closeBrace || byte === closeBracket) {
        start = this.#close(chunk, start, at, items);
      }
    }
    this.#keep(chunk.subarray(start));
    return items;
  }

  /** What is around the items, as JSON with none. */
  end(): string {
    return Buffer.from(this.#envelope, "latin1").toString("utf8");
  }

  /** The index of the string's closing quote, or the chunk's length when it goes on. */
  #endOfString(chunk: Buffer, from: number): number {
    let isEscaped = this.#isEscaped;
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (isEscaped) isEscaped = false;
      else if (byte === backslash) isEscaped = true;
      else if (byte === quote) {
        this.#isInString = false;
        this.#isEscaped = false;
        return at;
      }
    }
    this.#isInString = true;
    this.#isEscaped = isEscaped;
    return chunk.length;
  }

  /** These three return where what is not dealt with yet begins. */
  #open(start: number, at: number): number {
    const beginsItem = this.#isInItems && this.#depth === itemsDepth;
    this.#depth += 1;
    return beginsItem ? at : start;
  }

  #openArray(chunk: Buffer, start: number, at: number): number {
    if (this.#depth === 1) {
      const envelope = this.#envelope + chunk.toString("latin1", start, at);
      this.#isInItems = itemsNamed.test(envelope);
      if (this.#isInItems) this.#envelope = `${envelope}[`;
    }
    return this.#open(start, at);
  }

  #close(chunk: Buffer, start: number, at: number, items: string[]): number {
    this.#depth -= 1;
    if (!this.#isInItems) return start;
    if (this.#depth === itemsDepth) items.push(this.#item.complete(chunk.subarray(start, at + 1)));
    if (this.#depth >= itemsDepth) return start;
    this.#isInItems = false;
    return at;
  }

  #keep(rest: Buffer): void {
    if (this.#isInItems) {
      // Between items stand commas and spaces, which nobody needs.
      if (this.#depth > itemsDepth) this.#item.keep(rest);
      return;
    }
    this.#envelope += rest.toString("latin1");
    if (this.#envelope.length > maxEnvelopeBytes) {
      throw new RangeError(`more than ${maxEnvelopeBytes} bytes of a list are not its items`);
    }
  }
}
