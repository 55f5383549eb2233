/** HTTP/1.1 as bytes: what no client library would send. */
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";

export interface Target {
  readonly port: number;
  readonly isTls: boolean;
}

const connectTries = 200;
const retryMs = 25;
const answerMs = 20_000;
const oddAnswerMs = 500;

function attempt({ port, isTls }: Target): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const address = { host: "127.0.0.1", port };
    const socket = isTls
      ? connectTls({ ...address, rejectUnauthorized: false }, () => resolve(socket))
      : connect(address, () => resolve(socket));
    socket.on("error", reject);
    socket.once("close", () => reject(new Error("closed before the handshake")));
  });
}

/** The server refuses connections of one address beyond a rate: tries for some seconds. */
async function open(target: Target): Promise<Socket> {
  for (let turn = 1; ; turn += 1) {
    try {
      return await attempt(target);
    } catch (error) {
      if (turn >= connectTries) throw error;
      await delay(retryMs);
    }
  }
}

const endOfHead = "\r\n\r\n";

/** The status of the first final answer in the bytes, and whether the connection stays open; undefined until it is whole. */
function firstAnswer(
  text: string,
  isHead: boolean,
): { readonly status: number; readonly stays: boolean } | undefined {
  const end = text.indexOf(endOfHead);
  if (end < 0) return undefined;
  const head = text.slice(0, end);
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
  if (!isHead && text.length < end + endOfHead.length + length) return undefined;
  return { status, stays: !/^connection: close$/im.test(head) };
}

/** One connection, used again and again. */
export class KeptConnection {
  readonly #target: Target;
  #socket: Socket | undefined;

  constructor(target: Target) {
    this.#target = target;
  }

  /** The status; undefined when the connection ended without an answer, on a new connection, too. */
  async ask(bytes: string, isHead: boolean): Promise<number | undefined> {
    const wasOpen = this.#socket !== undefined;
    const status = await this.#once(bytes, isHead);
    // It may have been closed as idle.
    return status === undefined && wasOpen ? this.#once(bytes, isHead) : status;
  }

  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  async #once(bytes: string, isHead: boolean): Promise<number | undefined> {
    const socket = (this.#socket ??= await open(this.#target));
    const answer = await new Promise<ReturnType<typeof firstAnswer>>((resolve) => {
      let text = "";
      const timer = setTimeout(() => end(undefined), answerMs);
      const take = (chunk: Buffer): void => {
        text += chunk.toString("latin1");
        const found = firstAnswer(text, isHead);
        if (found) end(found);
      };
      const closed = (): void => end(undefined);
      const end = (result: ReturnType<typeof firstAnswer>): void => {
        clearTimeout(timer);
        socket.off("data", take).off("close", closed);
        resolve(result);
      };
      socket.on("data", take).once("close", closed);
      socket.write(bytes, "latin1");
    });
    if (answer?.stays !== true) this.close();
    return answer?.status;
  }
}

/** All statuses that come back on a connection of its own until it is closed; the bytes may be no request at all. */
export async function exchange(target: Target, bytes: string, isCut: boolean): Promise<number[]> {
  const socket = await open(target);
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  const closed = new Promise((resolve) => socket.once("close", resolve));
  if (isCut) {
    socket.write(bytes, "latin1", () => socket.destroy());
  } else {
    socket.end(bytes, "latin1");
    const timer = setTimeout(() => socket.destroy(), oddAnswerMs);
    await closed;
    clearTimeout(timer);
  }
  await closed;
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status));
}
