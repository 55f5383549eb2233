import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import type { Server } from "node:http";
import { createServer } from "node:https";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { KubeConfig } from "@kubernetes/client-node";
import { expect } from "chai";
import { KubeClient } from "../../../src/kube/client.ts";
import { credentialsFrom, loadCredentialsFromFile } from "../../../src/kube/credentials.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { createManualClock } from "../../support/manual-clock.ts";
import { startSocksServer } from "../../support/socks-server.ts";

interface Seen {
  readonly authorization: string | undefined;
  readonly clientName: string | undefined;
}

describe("credentials", () => {
  let directory: string;
  let api: Server;
  let seen: Seen[];
  let revoked: string | undefined;
  const clients: KubeClient[] = [];
  const path = (name: string): string => join(directory, name);

  /** A self-signed certificate: its own CA. */
  function makeCertificate(name: string): void {
    const subject = ["-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"];
    const output = ["-keyout", path(`${name}.key`), "-out", path(`${name}.crt`)];
    const options = [
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "2",
    ];
    execFileSync("openssl", ["req", ...options, ...subject, ...output], { stdio: "ignore" });
  }

  const certificate = (name: string) => ({
    cert: readFileSync(path(`${name}.crt`)),
    key: readFileSync(path(`${name}.key`)),
  });

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "rota-credentials-"));
    for (const name of ["server", "other-server", "user"]) makeCertificate(name);
    const options = { ...certificate("server"), requestCert: true, rejectUnauthorized: false };
    api = createServer(options, (request, response) => {
      const socket = request.socket as TLSSocket;
      const { CN } = socket.getPeerCertificate().subject ?? {};
      seen.push({
        authorization: request.headers.authorization,
        clientName: Array.isArray(CN) ? CN[0] : CN,
      });
      response.statusCode = request.headers.authorization === revoked ? 401 : 200;
      response.setHeader("content-type", "application/json");
      response.end("{}");
    });
    api.listen(0, "127.0.0.1");
    await once(api, "listening");
  });
  beforeEach(() => {
    seen = [];
    revoked = "Bearer revoked";
  });
  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.close()));
  });
  after(async () => {
    api.closeAllConnections();
    api.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const port = (): number => (api.address() as AddressInfo).port;

  function kubeconfig(user: object, cluster: object = {}): string {
    const file = path("kubeconfig");
    const server = `https://127.0.0.1:${port()}`;
    const content = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      clusters: [
        { name: "c", cluster: { server, "certificate-authority": path("ca.crt"), ...cluster } },
      ],
      users: [{ name: "u", user }],
    };
    writeFileSync(file, JSON.stringify(content));
    writeFileSync(path("ca.crt"), readFileSync(path("server.crt")));
    return file;
  }

  function clientFor(file: string, clock = systemClock): KubeClient {
    const credentials = loadCredentialsFromFile(file);
    const client = new KubeClient({ credentials, clock, name: "credentials-test" });
    clients.push(client);
    return client;
  }

  const ask = (client: KubeClient): Promise<unknown> =>
    client.raw("GET", "/version", undefined, { attempts: 1, timeoutSeconds: 10 });

  it("uses a client certificate", async () => {
    const user = { "client-certificate": path("user.crt"), "client-key": path("user.key") };
    await ask(clientFor(kubeconfig(user)));
    expect(seen).to.deep.equal([{ authorization: undefined, clientName: "user" }]);
  });

  it("uses a token, and a user name with a password", async () => {
    await ask(clientFor(kubeconfig({ token: "secret" })));
    await ask(clientFor(kubeconfig({ username: "me", password: "pass" })));
    const basic = `Basic ${Buffer.from("me:pass").toString("base64")}`;
    expect(seen.map(({ authorization }) => authorization)).to.deep.equal(["Bearer secret", basic]);
  });

  it("runs an exec plugin again when its token expires", async () => {
    const plugin = `
      const count = require("node:fs").readFileSync(${JSON.stringify(path("count"))}, "utf8").length;
      require("node:fs").appendFileSync(${JSON.stringify(path("count"))}, "x");
      const expirationTimestamp = new Date(Date.now() - 1000).toISOString();
      console.log(JSON.stringify({ status: { token: "run-" + count, expirationTimestamp } }));`;
    writeFileSync(path("count"), "");
    const exec = {
      apiVersion: "client.authentication.k8s.io/v1",
      command: process.execPath,
      args: ["-e", plugin],
    };
    const clock = createManualClock();
    const client = clientFor(kubeconfig({ exec }), clock);
    await ask(client);
    await ask(client);
    await clock.advance(31);
    await ask(client);
    expect(seen.map(({ authorization }) => authorization)).to.deep.equal([
      "Bearer run-0",
      "Bearer run-0",
      "Bearer run-1",
    ]);
  });

  it("reads a rotated certificate and CA, on new connections", async () => {
    const clock = createManualClock();
    const user = { "client-certificate": path("rotated.crt"), "client-key": path("rotated.key") };
    const rotate = (name: string): void => {
      writeFileSync(path("rotated.crt"), certificate(name).cert);
      writeFileSync(path("rotated.key"), certificate(name).key);
    };
    rotate("user");
    const client = clientFor(kubeconfig(user), clock);
    await ask(client);
    rotate("other-server");
    await ask(client);
    await clock.advance(31);
    await ask(client);
    expect(seen.map(({ clientName }) => clientName)).to.deep.equal([
      "user",
      "user",
      "other-server",
    ]);
    writeFileSync(path("ca.crt"), certificate("other-server").cert);
    await clock.advance(31);
    const refused = await ask(client).catch((error: unknown) => String(error));
    expect(refused).to.match(/certificate/);
  });

  it("reads a pod's token again when the old is refused", async () => {
    const folder = path("var/run/secrets/kubernetes.io/serviceaccount");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "ca.crt"), certificate("server").cert);
    writeFileSync(join(folder, "token"), "first\n");
    const { KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT } = process.env;
    Object.assign(process.env, {
      KUBERNETES_SERVICE_HOST: "127.0.0.1",
      KUBERNETES_SERVICE_PORT: String(port()),
    });
    try {
      const credentials = credentialsFrom(() => {
        const config = new KubeConfig();
        config.loadFromCluster(directory);
        return config;
      });
      const client = new KubeClient({ credentials, clock: systemClock, name: "credentials-test" });
      clients.push(client);
      await client.raw("GET", "/version");
      writeFileSync(join(folder, "token"), "second\n");
      revoked = "Bearer first";
      await client.raw("GET", "/version");
    } finally {
      restoreEnvironment({ KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT });
    }
    expect(seen.map(({ authorization }) => authorization)).to.deep.equal([
      "Bearer first",
      "Bearer first",
      "Bearer second",
    ]);
  });

  it("goes through the cluster's HTTP proxy", async () => {
    const tunnels: string[] = [];
    const proxy = createHttpServer();
    proxy.on("connect", (request, socket) => {
      tunnels.push(request.url ?? "");
      const upstream = connect(port(), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.pipe(socket).pipe(upstream);
      });
      upstream.on("error", () => socket.destroy());
      socket.on("error", () => upstream.destroy());
    });
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    const { port: proxyPort } = proxy.address() as AddressInfo;
    const cluster = { "proxy-url": `http://127.0.0.1:${proxyPort}` };
    const client = clientFor(kubeconfig({ token: "secret" }, cluster));
    await ask(client);
    await client.close();
    proxy.close();
    expect(tunnels).to.deep.equal([`127.0.0.1:${port()}`]);
    expect(seen).to.have.length(1);
  });

  it("sends no token over plain HTTP to another machine", () => {
    const file = kubeconfig({ token: "secret" }, { server: "http://api.example.com" });
    expect(() => loadCredentialsFromFile(file)).to.throw("must be https");
  });

  it("uses a SOCKS5 proxy with few connections", async () => {
    const proxy = await startSocksServer("me", "p@ss");
    try {
      const cluster = { "proxy-url": `socks5://me:p%40ss@127.0.0.1:${proxy.port}` };
      const client = clientFor(kubeconfig({ token: "secret" }, cluster));
      await Promise.all(Array.from({ length: 100 }, () => ask(client)));
      expect(seen).to.have.length(100);
      expect(proxy.tunnels.length).to.be.within(1, 8);
      expect(new Set(proxy.tunnels)).to.deep.equal(new Set([`127.0.0.1:${port()}`]));
      const stranger = { "proxy-url": `socks5://me:wrong@127.0.0.1:${proxy.port}` };
      const refused = await ask(clientFor(kubeconfig({ token: "secret" }, stranger))).catch(String);
      expect(refused).to.match(/Unreachable.*Socks/i);
      expect(refused).not.to.include("wrong");
    } finally {
      await proxy.close();
    }
  });

  it("refuses an unknown kind of proxy, without its password", () => {
    const cluster = { "proxy-url": "socks4://me:secret-word@proxy" };
    const load = (): unknown => loadCredentialsFromFile(kubeconfig({ token: "secret" }, cluster));
    expect(load).to.throw("must be the URL of an http, https or socks5 proxy, not socks4:");
    expect(load).not.to.throw("secret-word");
  });
});

function restoreEnvironment(saved: Readonly<Record<string, string | undefined>>): void {
  for (const [name, value] of Object.entries(saved)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}
