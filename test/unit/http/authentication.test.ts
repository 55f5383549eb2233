import { expect } from "chai";
import { Authenticator } from "../../../src/http/authentication.ts";
import { HttpProblem } from "../../../src/http/problem.ts";
import type { KubeClient } from "../../../src/kube/client.ts";
import { createManualClock } from "../../support/manual-clock.ts";

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
    const authenticator = new Authenticator({ kube, clock, certificates });
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
    const authenticator = new Authenticator({ kube, clock: createManualClock(), certificates });
    const ask = (token: string) => authenticator.identify({ token, method: "GET", target: "/" });
    for (let turn = 0; turn < 16; turn += 1) ask(`waiting-${turn}`).catch(() => undefined);
    const refused = await ask("one more").catch((error: unknown) => error);
    expect(refused).to.include({ code: "Overloaded" });
  });
});
