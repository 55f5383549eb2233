/** Larger than etcd lets an object be (1.5 MiB), encoded as JSON. */
const maxPieceBytes = 32 * 1024 * 1024;

/** Puts together text that arrives in pieces. Bytes of an unfinished one are kept, once, until it ends. */
export class ChunkBuffer {
  #kept: Buffer[] = [];
  #keptBytes = 0;

  /** The text that ends with `last`. */
  complete(last: Buffer): string {
    if (this.#kept.length === 0) return last.toString("utf8");
    const whole = Buffer.concat([...this.#kept, last]);
    this.#kept = [];
    this.#keptBytes = 0;
    return whole.toString("utf8");
  }

  /** @throws RangeError when the text is longer than 32 MiB */
  keep(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#keptBytes += piece.length;
    if (this.#keptBytes > maxPieceBytes) {
      throw new RangeError(`an object or event is longer than ${maxPieceBytes} bytes`);
    }
    this.#kept.push(piece);
  }
}
