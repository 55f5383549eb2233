import { expect } from "chai";
import { Authenticator } from "../../../src/http/authentication.ts";
import { HttpProblem } from "../../../src/http/problem.ts";
import type { SignedRequest } from "../../../src/http/identity.ts";
import type { KubeClient } from "../../../src/kube/client.ts";
import { TokenBuckets } from "../../../src/runtime/token-buckets.ts";
import type { Clock } from "../../../src/runtime/clock.ts";
import { createManualClock } from "../../support/manual-clock.ts";

const ratesOf = (clock: Clock) =>
  new TokenBuckets({ clock, perSecond: 20, burst: 60, capacity: 10 });
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");

describe("the budget for proofs of identity that fail", () => {
  const setUp = (isKnown: (token: string) => boolean) => {
    let reviews = 0;
    const kube = {
      raw: async (_verb: string, _path: string, body: { spec: { token: string } }) => {
        reviews += 1;
        const authenticated = isKnown(body.spec.token);
        return { status: { authenticated, user: { username: "pat" } } };
      },
    } as unknown as KubeClient;
    const clock = createManualClock();
    const certificates = { verify: () => Promise.reject(new Error("unused")) };
    const rates = ratesOf(clock);
    const authenticator = new Authenticator({ kube, clock, certificates, rates });
    const codeOf = (token: string): Promise<string> =>
      authenticator.identify({ token, method: "GET", target: "/" }).then(
        ({ caller }) => caller.user,
        (error: unknown) => (error instanceof HttpProblem ? error.code : String(error)),
      );
    return { clock, codeOf, reviews: () => reviews };
  };

  it("reviews few unknown tokens and serves known callers", async () => {
    const { clock, codeOf, reviews } = setUp((token) => token.startsWith("good"));
    expect(await codeOf("good-1")).to.equal("pat");
    const codes: string[] = [];
    for (let turn = 0; turn < 500; turn += 1) codes.push(await codeOf(`bad-${turn}`));
    expect(new Set(codes)).to.deep.equal(new Set(["TokenRejected", "TooManyRequests"]));
    expect(reviews()).to.be.at.most(61);
    expect(await codeOf("good-1")).to.equal("pat");
    await clock.advance(1);
    expect(await codeOf("good-2")).to.equal("pat");
  });

  it("takes nothing for good tokens", async () => {
    const { codeOf } = setUp(() => true);
    for (let turn = 0; turn < 200; turn += 1) expect(await codeOf(`t-${turn}`)).to.equal("pat");
  });

  it("judges few proofs at a time", async () => {
    const kube = { raw: () => new Promise(() => undefined) } as unknown as KubeClient;
    const certificates = { verify: () => Promise.reject(new Error("unused")) };
    const clock = createManualClock();
    const authenticator = new Authenticator({ kube, clock, certificates, rates: ratesOf(clock) });
    const ask = (token: string) => authenticator.identify({ token, method: "GET", target: "/" });
    for (let turn = 0; turn < 12; turn += 1) ask(`waiting-${turn}`).catch(() => undefined);
    const refused = await ask("one more").catch((error: unknown) => error);
    expect(refused).to.include({ code: "Overloaded" });
  });

  it("serves proved certificates at their rate despite others' failures", async () => {
    let verifications = 0;
    const certificates = {
      verify: async ({ token = "" }: SignedRequest) => {
        verifications += 1;
        if (!token.endsWith(".good")) throw new HttpProblem("CertificateRejected", "refused");
        const caller = { user: "pat", groups: [], by: "certificate" } as const;
        return { caller, redeem: () => undefined };
      },
    };
    const clock = createManualClock();
    const kube = { raw: () => Promise.reject(new Error("unused")) } as unknown as KubeClient;
    const authenticator = new Authenticator({ kube, clock, certificates, rates: ratesOf(clock) });
    const ask = (x5c: string, signature: string): Promise<string> =>
      authenticator
        .identify({
          token: `${base64({ typ: "rota-proof+jwt", x5c: [x5c] })}.${base64({})}.${signature}`,
          method: "GET",
          target: "/",
        })
        .then(
          ({ caller }) => caller.user,
          (error: unknown) => (error instanceof HttpProblem ? error.code : String(error)),
        );
    expect(await ask("pat", "good")).to.equal("pat");
    for (let turn = 0; turn < 100; turn += 1) await ask(`forged-${turn}`, "bad");
    expect(verifications).to.equal(61);
    expect(await ask("unknown", "good")).to.equal("TooManyRequests");
    const codes: string[] = [];
    for (let turn = 0; turn < 61; turn += 1) codes.push(await ask("pat", "good"));
    expect(codes.filter((code) => code === "pat")).to.have.lengthOf(60);
    expect(codes.at(-1)).to.equal("TooManyRequests");
    await clock.advance(1);
    expect(await ask("pat", "bad")).to.equal("CertificateRejected");
    for (let turn = 0; turn < 100; turn += 1) await ask("pat", "bad");
    expect(await ask("pat", "good")).to.equal("TooManyRequests");
  });
});
