import { errorOfResponse, errorWithoutAnswer } from "./error-response.ts";
import type { Attempt } from "./error-response.ts";
import type { StreamRequest, Transport } from "./transport.ts";

/**
 * The bytes of a response as they arrive.
 * @throws KubeError if the server rejects the request or the connection breaks; the signal's reason
 */
export async function* openStream(
  transport: Transport,
  request: StreamRequest,
  attempt: Attempt,
): AsyncGenerator<Buffer, void> {
  const response = await transport.stream(request).catch((error: unknown) => {
    throw failureOf(error, request.signal, attempt);
  });
  if (response.kind === "refused") {
    if (response.response.status === 401) transport.forgetCredentials();
    throw errorOfResponse(attempt, response.response);
  }
  const chunks = response.chunks[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await chunks.next().catch((error: unknown) => {
        throw failureOf(error, request.signal, attempt);
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await chunks.return?.();
  }
}

const failureOf = (error: unknown, signal: AbortSignal, attempt: Attempt): unknown =>
  signal.aborted ? signal.reason : errorWithoutAnswer(attempt, error);
