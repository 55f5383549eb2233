import "reflect-metadata";
import { execFileSync } from "node:child_process";
import { generateKeyPairSync, KeyObject, type webcrypto } from "node:crypto";
import { expect } from "chai";
import { SignJWT } from "jose";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  X509CertificateGenerator,
  type X509Certificate,
} from "@peculiar/x509";
import { signRequest } from "../../../src/cli/signature.ts";
import type { Caller } from "../../../src/http/identity.ts";
import {
  createCertificateVerifier,
  type CertificateVerifier,
} from "../../../src/http/client-certificate.ts";
import { HttpProblem } from "../../../src/http/problem.ts";
import { systemClock } from "../../../src/runtime/clock.ts";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const clientAuthentication = "1.3.6.1.5.5.7.3.2";
const serverAuthentication = "1.3.6.1.5.5.7.3.1";
const hour = 3_600_000;
const audience = "rota.dev";
const target = "/api/v1/queue?pool=blue";

interface Holder {
  readonly certificate: X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
  /** PEM */
  readonly cert: string;
  readonly key: string;
}

const holder = (certificate: X509Certificate, keys: webcrypto.CryptoKeyPair): Holder => ({
  certificate,
  keys,
  cert: certificate.toString("pem"),
  key: KeyObject.from(keys.privateKey).export({ type: "pkcs8", format: "pem" }),
});

const newKeys = () => crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
const around = (from = -1, to = 1) => ({
  notBefore: new Date(Date.now() + from * hour),
  notAfter: new Date(Date.now() + to * hour),
});

async function authority(name: string, isAuthority = true): Promise<Holder> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    ...around(),
    signingAlgorithm: algorithm,
    keys,
    extensions: [new BasicConstraintsExtension(isAuthority, undefined, true)],
  });
  return holder(certificate, keys);
}

interface LeafOptions {
  readonly subject?: string;
  readonly usage?: string;
  readonly days?: readonly [from: number, to: number];
}

async function leaf(by: Holder, options: LeafOptions = {}): Promise<Holder> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.create({
    subject: options.subject ?? "CN=pat,O=vision,O=admins",
    issuer: by.certificate.subject,
    ...around(...(options.days ?? [-1, 1])),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: by.keys.privateKey,
    extensions: [new ExtendedKeyUsageExtension([options.usage ?? clientAuthentication])],
  });
  return holder(certificate, keys);
}

describe("client certificates as proof of who asks", () => {
  let ca: Holder;
  let verifier: CertificateVerifier;
  before(async () => {
    ca = await authority("cluster");
    const former = await authority("former");
    verifier = createCertificateVerifier({
      clock: systemClock,
      audience,
      authorities: () => Promise.resolve(`${former.cert}\n${ca.cert}\n`),
    });
  });

  const signed = (
    by: Pick<Holder, "cert" | "key">,
    other: Partial<{ target: string; audience: string }> = {},
  ) => signRequest(by, { method: "GET", target, audience, ...other });
  const verify = async (token: string): Promise<Caller> =>
    verifier.verify({ token, method: "GET", target });
  const refusal = (token: string): Promise<string> =>
    verify(token).then(
      ({ user }) => `accepted as ${user}`,
      (error: unknown) => (error instanceof HttpProblem ? error.message : String(error)),
    );

  it("reads user and groups from the subject", async () => {
    expect(await verify(await signed(await leaf(ca)))).to.deep.equal({
      user: "pat",
      groups: ["vision", "admins", "system:authenticated"],
      by: "certificate",
    });
  });

  it("takes what stands in one field as one name, whatever is in it", async () => {
    const tricky = await leaf(ca, { subject: String.raw`CN=pat\, O=system:masters` });
    const caller = await verify(await signed(tricky));
    expect(caller.user).to.equal("pat, O=system:masters");
    expect(caller.groups).to.deep.equal(["system:authenticated"]);
    const newline = await leaf(ca, { subject: String.raw`CN=pat\0AO=system:masters` });
    expect((await verify(await signed(newline))).groups).to.deep.equal(["system:authenticated"]);
  });

  it("leaves TLS usable in a process that has read a certificate before anything else", () => {
    const module = import.meta.resolve("../../../src/http/client-certificate.ts");
    const script = `
      import { X509Certificate } from "node:crypto";
      import ${JSON.stringify(module)};
      new X509Certificate(${JSON.stringify(ca.cert)}).toLegacyObject();
      process.getBuiltinModule("node:tls").createSecureContext();`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], { stdio: "pipe" });
  });

  it("refuses a certificate of another authority, of the same name too", async () => {
    const forged = await leaf(await authority("cluster"));
    expect(await refusal(await signed(forged))).to.contain("not issued by the cluster's");
  });

  it("refuses a certificate that a client certificate has issued", async () => {
    const child = await leaf(await leaf(ca), { subject: "CN=admin,O=system:masters" });
    expect(await refusal(await signed(child))).to.contain("not issued by the cluster's");
  });

  it("refuses certificates that are old, of the future, or for servers", async () => {
    const old = await leaf(ca, { days: [-2, -1] });
    const early = await leaf(ca, { days: [1, 2] });
    const server = await leaf(ca, { usage: serverAuthentication });
    expect(await refusal(await signed(old))).to.contain("is valid until");
    expect(await refusal(await signed(early))).to.contain("is valid until");
    expect(await refusal(await signed(server))).to.contain("not one for client authentication");
  });

  it("refuses who has the certificate and not its key", async () => {
    const { cert } = await leaf(ca);
    const { key } = await leaf(ca);
    expect(await refusal(await signed({ cert, key }))).to.contain("not by the certificate's key");
  });

  it("refuses no signature, and one with a shared secret", async () => {
    const { certificate } = await leaf(ca);
    const x5c = [Buffer.from(certificate.rawData).toString("base64")];
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const none = `${part({ alg: "none", x5c })}.${part({ aud: audience })}.`;
    expect(await refusal(none)).to.contain("not by the certificate's key");
    const secret = new TextEncoder().encode(x5c[0]);
    const hmac = await new SignJWT({}).setProtectedHeader({ alg: "HS256", x5c }).sign(secret);
    expect(await refusal(hmac)).to.contain("not by the certificate's key");
  });

  it("refuses a signature used twice, for another request, for another audience", async () => {
    const pat = await leaf(ca);
    const token = await signed(pat);
    await verify(token);
    expect(await refusal(token)).to.contain("used already");
    const elsewhere = await signed(pat, { target: "/api/v1/queue?pool=red" });
    expect(await refusal(elsewhere)).to.contain("for another request");
    expect(await refusal(await signed(pat, { audience: "vault" }))).to.contain("clock");
  });

  it("refuses a signature that is valid for long, or says not when it was made", async () => {
    const { certificate, keys } = await leaf(ca);
    const x5c = [Buffer.from(certificate.rawData).toString("base64")];
    const make = () =>
      new SignJWT({ request: `GET ${target}` })
        .setProtectedHeader({ alg: "ES256", x5c })
        .setAudience(audience)
        .setJti("one");
    const now = Math.floor(Date.now() / 1000);
    const old = make()
      .setIssuedAt(now - 3600)
      .setExpirationTime(now + 3600);
    const undated = make().setExpirationTime(now + 60);
    expect(await refusal(await old.sign(keys.privateKey))).to.contain("too old");
    expect(await refusal(await undated.sign(keys.privateKey))).to.contain("too old");
  });

  it("signs with RSA keys, too", async () => {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" });
    const { cert } = await leaf(ca);
    const token = await signRequest({ cert, key: pem }, { method: "GET", target, audience });
    expect(JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).alg).to.equal(
      "RS256",
    );
  });
});
