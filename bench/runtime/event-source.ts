/**
 * event-source.ts OBJECTS EVENTS: a stand-in for the API server that has everything ready to send, so that the consumer is
 * the bottleneck: WatchList's initial events of OBJECTS objects, and, asked for /go, EVENTS modifications on the open watch.
 * Prints its port.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { benchJob } from "./objects.ts";

const [objects = 0, events = 0] = process.argv.slice(2).map(Number);
const eventsPerChunk = 50;

function line(type: string, index: number, resourceVersion: number): string {
  const object = benchJob(index);
  const metadata = {
    ...object.metadata,
    uid: `uid-${index}`,
    resourceVersion: `${resourceVersion}`,
  };
  const status = { state: "Running", attempt: resourceVersion };
  return `${JSON.stringify({ type, object: { ...object, metadata, status } })}\n`;
}

function bookmark(resourceVersion: number): string {
  const annotations = { "k8s.io/initial-events-end": "true" };
  const metadata = { resourceVersion: `${resourceVersion}`, annotations };
  return `${JSON.stringify({ type: "BOOKMARK", object: { metadata } })}\n`;
}

async function send(response: ServerResponse, chunks: readonly Buffer[]): Promise<void> {
  for (const chunk of chunks) {
    if (!response.write(chunk)) await once(response, "drain");
  }
}

function chunksOf(type: string, count: number, firstVersion: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < count; at += eventsPerChunk) {
    const lines = Array.from({ length: Math.min(eventsPerChunk, count - at) }, (_, offset) =>
      line(type, (at + offset) % objects, firstVersion + at + offset),
    );
    chunks.push(Buffer.from(lines.join("")));
  }
  return chunks;
}

const initial = chunksOf("ADDED", objects, 1);
const modifications = chunksOf("MODIFIED", events, objects + 1);
let watch: ServerResponse | undefined;

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.writeHead(200, { "content-type": "application/json" });
  if (request.url?.startsWith("/go")) {
    response.end("{}");
    if (watch) await send(watch, modifications);
    return;
  }
  watch = response;
  await send(response, initial);
  response.write(bookmark(objects));
}

const server = createServer((request, response) => void answer(request, response));
server.listen(0, "127.0.0.1", () => {
  console.log((server.address() as AddressInfo).port);
});
