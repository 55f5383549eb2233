/**
 * patch-target.ts KEY CERTIFICATE CA: answers every request with a small object, over TLS with client certificates, as the
 * API server does; so fast that a client's own cost shows. Prints its port.
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { benchJob } from "./objects.ts";

const [key = "", certificate = "", ca = ""] = process.argv.slice(2);
const answer = JSON.stringify(benchJob(1));
const tls = {
  key: readFileSync(key),
  cert: readFileSync(certificate),
  ca: readFileSync(ca),
  requestCert: true,
};
const server = createServer(tls, (request, response) => {
  request.resume();
  request.on("end", () => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(answer);
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log((server.address() as AddressInfo).port);
});
