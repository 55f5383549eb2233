/** Above etcd's object limit (1.5 MiB) in JSON encoding. */
const maxPieceBytes = 32 * 1024 * 1024;

/** Assembles texts from chunks. Buffers the bytes of an incomplete text until its last chunk arrives. */
export class ChunkBuffer {
  #kept: Buffer[] = [];
  #keptBytes = 0;

  /** Completes a text with its last chunk. */
  complete(last: Buffer): string {
    if (this.#kept.length === 0) return last.toString("utf8");
    const whole = Buffer.concat([...this.#kept, last]);
    this.#kept = [];
    this.#keptBytes = 0;
    return whole.toString("utf8");
  }

  /** @throws RangeError if the text exceeds 32 MiB */
  keep(piece: Buffer): void {
    if (piece.length === 0) return;
    this.#keptBytes += piece.length;
    if (this.#keptBytes > maxPieceBytes) {
      throw new RangeError(`object or event exceeds ${maxPieceBytes} bytes`);
    }
    this.#kept.push(piece);
  }
}
