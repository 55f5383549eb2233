import "reflect-metadata";
import { execFileSync } from "node:child_process";
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from "node:crypto";
import { expect } from "chai";
import { SignJWT } from "jose";
import {
  ExtendedKeyUsageExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
} from "@peculiar/x509";
import { signRequest } from "../../../src/cli/signature.ts";
import { proofType } from "../../../src/api/http/identity.ts";
import type { Caller } from "../../../src/http/identity.ts";
import {
  createCertificateVerifier,
  type CertificateVerifier,
} from "../../../src/http/client-certificate.ts";
import { ChainJudge, isAffordable } from "../../../src/http/certificate-chain.ts";
import { HttpProblem } from "../../../src/http/problem.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import {
  along,
  authority,
  clientAuthentication,
  type Holder,
  intermediate,
  leaf,
  serverAuthentication,
} from "../../support/authorities.ts";

const audience = "rota.dev";
const target = "/api/v1/queue?pool=blue";

describe("authentication by client certificate", () => {
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
  const verify = async (token: string): Promise<Caller> => {
    const { caller, redeem } = await verifier.verify({ token, method: "GET", target });
    redeem();
    return caller;
  };
  const rejection = (token: string): Promise<string> =>
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

  it("takes one field as one name, whatever it contains", async () => {
    const tricky = await leaf(ca, { subject: String.raw`CN=pat\, O=system:masters` });
    const caller = await verify(await signed(tricky));
    expect(caller.user).to.equal("pat, O=system:masters");
    expect(caller.groups).to.deep.equal(["system:authenticated"]);
    const newline = await leaf(ca, { subject: String.raw`CN=pat\0AO=system:masters` });
    expect((await verify(await signed(newline))).groups).to.deep.equal(["system:authenticated"]);
  });

  it("leaves TLS usable where a certificate was read first", () => {
    const module = import.meta.resolve("../../../src/http/client-certificate.ts");
    const script = `
      import { X509Certificate } from "node:crypto";
      import ${JSON.stringify(module)};
      new X509Certificate(${JSON.stringify(ca.cert)}).toLegacyObject();
      process.getBuiltinModule("node:tls").createSecureContext();`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], { stdio: "pipe" });
  });

  it("refuses another authority's certificate, of the same name too", async () => {
    const forged = await leaf(await authority("cluster"));
    expect(await rejection(await signed(forged))).to.contain("issued neither by the cluster's");
  });

  it("refuses a certificate that a client certificate has issued", async () => {
    const parent = await leaf(ca);
    const child = await leaf(parent, { subject: "CN=admin,O=system:masters" });
    expect(await rejection(await signed(child))).to.contain("issued neither by the cluster's");
    expect(await rejection(await signed(along(child, parent)))).to.contain("issued neither by");
    const noAuthority = await intermediate(ca, { isAuthority: false });
    const under = along(await leaf(noAuthority), noAuthority);
    expect(await rejection(await signed(under))).to.contain("issued neither by");
  });

  it("follows intermediate authorities in the chain's order", async () => {
    const first = await intermediate(ca);
    const second = await intermediate(first);
    const own = await leaf(second);
    for (const authorities of [
      [second, first],
      [second, first, ca],
    ]) {
      const { user, groups } = await verify(await signed(along(own, ...authorities)));
      expect([user, groups[0]]).to.deep.equal(["pat", "vision"]);
    }
    for (const authorities of [[], [second], [first], [first, second]]) {
      const token = await signed(along(own, ...authorities));
      expect(await rejection(token)).to.contain("issued neither by the cluster's");
    }
  });

  it("accepts the cluster's intermediate authority as the root", async () => {
    const named = await intermediate(await authority("elsewhere"));
    const trusting = createCertificateVerifier({
      clock: systemClock,
      audience,
      authorities: () => Promise.resolve(named.cert),
    });
    const token = await signed(await leaf(named));
    const { caller } = await trusting.verify({ token, method: "GET", target });
    expect(caller.user).to.equal("pat");
  });

  it("refuses a chain that brings its own root", async () => {
    const root = await authority("cluster");
    const forged = await intermediate(root);
    const token = await signed(along(await leaf(forged), forged, root));
    expect(await rejection(token)).to.contain("issued neither by the cluster's");
  });

  it("heeds what an intermediate authority may issue", async () => {
    const last = await intermediate(ca, { pathLength: 0 });
    const beyond = await intermediate(last);
    expect(await rejection(await signed(along(await leaf(beyond), beyond, last)))).to.contain(
      "issued neither by",
    );
    expect((await verify(await signed(along(await leaf(last), last)))).user).to.equal("pat");

    const forServers = await intermediate(ca, {
      extensions: [new ExtendedKeyUsageExtension([serverAuthentication])],
    });
    // Of no permitted or excluded names: what matters is that it is there.
    const constrained = await intermediate(ca, {
      extensions: [new Extension("2.5.29.30", false, new Uint8Array([0x30, 0x00]))],
    });
    const unknown = await intermediate(ca, {
      extensions: [new Extension("1.2.3.4", true, new Uint8Array([0x05, 0x00]))],
    });
    const harmless = await intermediate(ca, {
      extensions: [
        new Extension("1.2.3.4", false, new Uint8Array([0x05, 0x00])),
        new ExtendedKeyUsageExtension([serverAuthentication, clientAuthentication]),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
      ],
    });
    const noSigner = await intermediate(ca, {
      extensions: [new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true)],
    });
    for (const by of [forServers, constrained, unknown, noSigner]) {
      const token = await signed(along(await leaf(by), by));
      expect(await rejection(token)).to.contain("issued neither by");
    }
    expect((await verify(await signed(along(await leaf(harmless), harmless)))).user).to.equal(
      "pat",
    );
  });

  it("heeds critical extensions of leaf and root", async () => {
    const critical = new Extension("1.2.3.4", true, new Uint8Array([0x05, 0x00]));
    const odd = await leaf(ca, { extensions: [critical] });
    expect(await rejection(await signed(odd))).to.contain("issued neither by");
    const constraints = new Extension("2.5.29.30", false, new Uint8Array([0x30, 0x00]));
    const root = await intermediate(ca, { extensions: [constraints] });
    const trusting = createCertificateVerifier({
      clock: systemClock,
      audience,
      authorities: () => Promise.resolve(root.cert),
    });
    const token = await signed(await leaf(root));
    const refused = await trusting
      .verify({ token, method: "GET", target })
      .catch((error: unknown) => error);
    expect(refused).to.include({ code: "CertificateRejected" });
  });

  it("refuses expired authorities and chains that are too long", async () => {
    const old = await intermediate(ca, { days: [-2, -1] });
    const late = await signed(along(await leaf(old), old));
    expect(await rejection(late)).to.contain("one of its authorities has expired");
    const chain = [ca];
    for (let depth = 0; depth < 5; depth += 1) {
      chain.unshift(await intermediate(chain[0] ?? ca));
    }
    const [nearest = ca] = chain;
    const own = await leaf(nearest);
    const tooLong = await signed(along(own, ...chain.slice(0, 5)));
    expect(await rejection(tooLong)).to.contain("at most 4");
  });

  it("refuses expired, future and server certificates", async () => {
    const old = await leaf(ca, { days: [-2, -1] });
    const early = await leaf(ca, { days: [1, 2] });
    const server = await leaf(ca, { usage: serverAuthentication });
    expect(await rejection(await signed(old))).to.contain("valid until");
    expect(await rejection(await signed(early))).to.contain("valid until");
    expect(await rejection(await signed(server))).to.contain("not for client authentication");
  });

  it("refuses a caller without the certificate's key", async () => {
    const { cert } = await leaf(ca);
    const { key } = await leaf(ca);
    expect(await rejection(await signed({ cert, key }))).to.contain(
      "does not match the certificate's key",
    );
  });

  it("refuses missing signatures and shared secrets", async () => {
    const { certificate } = await leaf(ca);
    const x5c = [Buffer.from(certificate.rawData).toString("base64")];
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const none = `${part({ alg: "none", x5c })}.${part({ aud: audience })}.`;
    expect(await rejection(none)).to.contain("does not match the certificate's key");
    const secret = new TextEncoder().encode(x5c[0]);
    const hmac = await new SignJWT({}).setProtectedHeader({ alg: "HS256", x5c }).sign(secret);
    expect(await rejection(hmac)).to.contain("does not match the certificate's key");
  });

  it("refuses a signature reused, or for another request or audience", async () => {
    const pat = await leaf(ca);
    const token = await signed(pat);
    await verify(token);
    expect(await rejection(token)).to.contain("used before");
    const elsewhere = await signed(pat, { target: "/api/v1/queue?pool=red" });
    expect(await rejection(elsewhere)).to.contain("for another request");
    expect(await rejection(await signed(pat, { audience: "vault" }))).to.contain("clock");
  });

  it("refuses a signature without a time, or valid too long", async () => {
    const { certificate, privateKey } = await leaf(ca);
    const x5c = [Buffer.from(certificate.rawData).toString("base64")];
    const make = () =>
      new SignJWT({ request: `GET ${target}` })
        .setProtectedHeader({ typ: proofType, alg: "ES256", x5c })
        .setAudience(audience)
        .setJti("one");
    const now = Math.floor(Date.now() / 1000);
    const old = make()
      .setIssuedAt(now - 3600)
      .setExpirationTime(now + 3600);
    const undated = make().setExpirationTime(now + 60);
    expect(await rejection(await old.sign(privateKey))).to.contain("expired");
    expect(await rejection(await undated.sign(privateKey))).to.contain("expired");
  });

  it("refuses a signature with a long identifier or another type", async () => {
    const { certificate, privateKey } = await leaf(ca);
    const x5c = [Buffer.from(certificate.rawData).toString("base64")];
    const make = (typ: string, jti: string) =>
      new SignJWT({ request: `GET ${target}` })
        .setProtectedHeader({ typ, alg: "ES256", x5c })
        .setAudience(audience)
        .setIssuedAt()
        .setExpirationTime("60 s")
        .setJti(jti)
        .sign(privateKey);
    expect(await rejection(await make(proofType, "j".repeat(129)))).to.contain("128 characters");
    expect(await rejection(await make("JWT", "one"))).not.to.contain("accepted");
    expect(await rejection(await make(proofType, "one"))).to.equal("accepted as pat");
  });

  it("refuses certificates that are not a list of strings", async () => {
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    // Buffer.from allocates what an object says is its length.
    for (const x5c of [[{ length: 2 ** 40 }], [7], [null], [[]], "text", 7, null, {}, []]) {
      const token = `${part({ typ: proofType, alg: "ES256", x5c })}.${part({})}.AA`;
      expect(await rejection(token)).to.contain("x5c must hold a certificate");
    }
  });

  it("refuses keys that take long to verify with", () => {
    const rsa = (bits: number, e: string) => {
      const n = Buffer.alloc(bits / 8, 0xff).toString("base64url");
      return createPublicKey({ format: "jwk", key: { kty: "RSA", n, e } });
    };
    const onCurve = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve }).publicKey;
    for (const key of [rsa(2048, "AQAB"), rsa(4096, "AQAB"), onCurve("secp521r1")]) {
      expect(isAffordable(key)).to.equal(true);
    }
    expect(isAffordable(generateKeyPairSync("ed25519").publicKey)).to.equal(true);
    const ed448 = generateKeyPairSync("ed448").publicKey;
    for (const key of [rsa(4104, "AQAB"), rsa(2048, "AQAAAAE"), onCurve("sect571r1"), ed448]) {
      expect(isAffordable(key)).to.equal(false);
    }
  });

  it("judges a chain of equal names with few verifications", async () => {
    const root = await authority("same");
    const [own, ...intermediates] = Array.from({ length: 5 }, () => new X509Certificate(root.cert));
    if (own === undefined) throw new Error("no certificate");
    const authorities = [new X509Certificate(ca.cert)];
    const { prototype } = X509Certificate;
    const verify = Reflect.get(prototype, "verify");
    let verifications = 0;
    prototype.verify = function counted(key: KeyObject) {
      verifications += 1;
      return Reflect.apply(verify, this, [key]);
    };
    try {
      const presented = { leaf: own, intermediates };
      expect(new ChainJudge().judge(presented, authorities, new Date())).to.equal("unknown");
    } finally {
      prototype.verify = verify;
    }
    expect(verifications).to.be.within(1, 9);
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
