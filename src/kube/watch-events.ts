import { ChunkBuffer } from "./chunk-buffer.ts";
import type { KubeObject } from "./resource.ts";

/** One event of a watch (metav1.WatchEvent). ERROR never gets here: it is thrown as a KubeError. */
export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}

const newline = 0x0a;

/** Cuts a byte stream into lines. */
export class LineSplitter {
  readonly #pieces = new ChunkBuffer();

  /** @throws RangeError on a line longer than 32 MiB */
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
