import { ChunkBuffer } from "./chunk-buffer.ts";
import type { KubeObject } from "./resource.ts";

/** One event of a watch (metav1.WatchEvent), without ERROR, which is thrown as a KubeError. */
export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}

const newline = 0x0a;

/** Splits a byte stream into lines. */
export class LineSplitter {
  readonly #pieces = new ChunkBuffer();

  /** @throws RangeError if a line exceeds 32 MiB */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      const line = this.#pieces.complete(chunk.subarray(start, end));
      if (line !== "") lines.push(line);
      start = end + 1;
    }
    this.#pieces.keep(chunk.subarray(start));
    return lines;
  }
}
