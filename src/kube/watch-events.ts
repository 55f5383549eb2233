import type { KubeObject } from "./resource.ts";

/** One event of a watch (metav1.WatchEvent). ERROR never gets here: it is thrown as a KubeError. */
export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: KubeObject;
}

/** Larger than etcd lets an object be (1.5 MiB), encoded as JSON. */
const longestLineBytes = 32 * 1024 * 1024;
const newline = 0x0a;

/** Cuts a byte stream into lines. Bytes of an unfinished line are kept, once, until the line ends. */
export class LineSplitter {
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  /** @throws RangeError on a line longer than 32 MiB */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let start = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
      const line = this.#complete(chunk.subarray(start, end));
      if (line !== "") lines.push(line);
      start = end + 1;
    }
    this.#keep(chunk.subarray(start));
    return lines;
  }

  #complete(part: Buffer): string {
    if (this.#pending.length === 0) return part.toString("utf8");
    const whole = Buffer.concat([...this.#pending, part]);
    this.#pending = [];
    this.#pendingBytes = 0;
    return whole.toString("utf8");
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    this.#pendingBytes += rest.length;
    if (this.#pendingBytes > longestLineBytes) {
      throw new RangeError(`a line of the watch is longer than ${longestLineBytes} bytes`);
    }
    this.#pending.push(rest);
  }
}
