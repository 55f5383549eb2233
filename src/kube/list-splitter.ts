import { ChunkBuffer } from "./chunk-buffer.ts";

/** ASCII bytes of JSON syntax; no multi-byte character of UTF-8 contains them. */
const quote = 0x22;
const backslash = 0x5c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

const itemsNamed = /"items"\s*:\s*$/;
/** Nesting depth between two items: the list and its array. */
const itemsDepth = 2;
const maxEnvelopeBytes = 1024 * 1024;

/**
 * Splits the JSON of a list (`{"kind": ..., "metadata": {...}, "items": [{...}, ...]}`) into its items as it arrives.
 * Parsed at once, a page of 500 objects outlives the young generation and doubles the heap. Parses only enough JSON to
 * find the end of an object.
 */
export class ListSplitter {
  readonly #item = new ChunkBuffer();
  /** As latin1, because a chunk may end within a multi-byte character. */
  #envelope = "";
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #isInItems = false;

  /**
   * @returns the items completed by this chunk
   * @throws RangeError if an item exceeds 32 MiB, or the text around the items its limit
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

  /** The list without its items, as JSON. */
  end(): string {
    return Buffer.from(this.#envelope, "latin1").toString("utf8");
  }

  /** Index of the string's closing quote; the chunk's length if it continues. */
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

  /** This method and the next two return the index of the first unprocessed byte. */
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
      // Skip commas and whitespace between items.
      if (this.#depth > itemsDepth) this.#item.keep(rest);
      return;
    }
    this.#envelope += rest.toString("latin1");
    if (this.#envelope.length > maxEnvelopeBytes) {
      throw new RangeError(`list metadata exceeds ${maxEnvelopeBytes} bytes`);
    }
  }
}
