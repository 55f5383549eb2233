import { expect } from "chai";
import { createAuthentication } from "../../../src/cli/authentication.ts";
import type { KubeClient } from "../../../src/kube/client.ts";
import type { CredentialSource } from "../../../src/kube/credentials.ts";
import { createManualClock } from "../../support/manual-clock.ts";

const tokenFor = (sub: string): string =>
  `a.${Buffer.from(JSON.stringify({ sub })).toString("base64url")}.b`;

describe("credentials of kubectl rota", () => {
  it("renew a token before it expires", async () => {
    const clock = createManualClock();
    let bearer = tokenFor("system:serviceaccount:team:robot");
    let requested = 0;
    const client = {
      raw: async () => {
        requested += 1;
        return { status: { token: `bound-${requested}` } };
      },
    } as unknown as KubeClient;
    const credentials = {
      read: async () => ({ headers: { authorization: `Bearer ${bearer}` }, tls: {} }),
    } as unknown as CredentialSource;
    const authentication = createAuthentication(client, credentials, clock);
    const token = () => authentication.for("GET", "/");
    expect([await token(), await token()]).to.deep.equal(["bound-1", "bound-1"]);
    await clock.advance(301);
    expect(await token()).to.equal("bound-2");
    bearer = tokenFor("pat");
    expect(await token()).to.equal(bearer);
  });
});
