/**
 * The way of real users: through the API server's service proxy. It proxies to no loopback address, so the whole
 * installation runs in a network namespace, where a simulated pod's address can be this machine's own.
 */
import { join } from "node:path";
import { expect } from "chai";
import { projectRoot } from "../../dev/local/paths.ts";
import { runInNetworkNamespace, whyNoNetworkNamespace } from "../support/network-namespace.ts";

describe("the HTTP API behind the API server's service proxy", function () {
  it("identifies callers by every credential", async function () {
    const problem = whyNoNetworkNamespace();
    if (problem !== undefined) {
      console.warn(`skipped: ${problem}`);
      this.skip();
    }
    // Servers outside of the namespace cannot be reached from it.
    const { DATABASE_URL: _database, ...env } = process.env;
    const { status, output } = await runInNetworkNamespace(
      [
        process.execPath,
        join(projectRoot, "node_modules", "mocha", "bin", "mocha.js"),
        "--timeout=240000",
        join(projectRoot, "test", "e2e", "service-proxy", "inside.ts"),
      ],
      { ...env, ROTA_TEST_POSTGRES: "embedded" },
    );
    expect(output).to.match(/\d passing/);
    expect(output, output).to.not.contain("failing");
    expect(status, output).to.equal(0);
  });
});
