import { expect } from "chai";
import { parseProxyUrl, proxyFromEnvironment } from "../../../src/kube/proxies.ts";

const HTTPS_PROXY = "http://proxy:3128";

const proxyTo = (server: string, environment: NodeJS.ProcessEnv): string | undefined =>
  proxyFromEnvironment(new URL(server), environment)?.href;

describe("proxy settings", () => {
  it("are read from the environment, for servers elsewhere", () => {
    const server = "https://api.example.com:6443";
    expect(proxyTo(server, {})).to.equal(undefined);
    expect(proxyTo(server, { HTTPS_PROXY })).to.equal("http://proxy:3128/");
    expect(proxyTo(server, { https_proxy: "proxy:3128" })).to.equal("http://proxy:3128/");
    expect(proxyTo(server, { HTTP_PROXY: HTTPS_PROXY })).to.equal(undefined);
    for (const own of ["https://localhost:6443", "https://127.1.2.3", "https://[::1]:6443"]) {
      expect(proxyTo(own, { HTTPS_PROXY }), own).to.equal(undefined);
    }
  });

  const cases: readonly [string, string, boolean][] = [
    ["https://api.example.com:6443", "*", true],
    ["https://api.example.com:6443", ".example.com", true],
    ["https://api.example.com:6443", "example.com", true],
    ["https://api.example.com:6443", "*.example.com", true],
    ["https://api.example.com:6443", "x, api.example.com", true],
    ["https://api.example.com:6443", "api.example.com:6443", true],
    ["https://api.example.com", "api.example.com:443", true],
    ["https://api.example.com:6443", "api.example.com:443", false],
    ["https://api.example.com:6443", "other.org,ple.com", false],
    ["https://10.96.0.1:443", "10.96.0.0/12", true],
    ["https://10.96.0.1:443", "10.96.0.1", true],
    ["https://10.96.0.1:443", "10.97.0.0/16,10.96.0.10", false],
    ["https://10.96.0.1:443", "10.0.0.0/33,10.0.0.0/,rubbish/8", false],
    ["https://[fd00::1]:443", "fd00::/8", true],
    ["https://[fd00::1]:443", "fd00::1", true],
    ["https://[fd00::1]:443", "10.0.0.0/8,fe80::/10", false],
  ];
  for (const [server, NO_PROXY, isException] of cases) {
    it(`${isException ? "bypass" : "apply to"} ${server} with NO_PROXY=${NO_PROXY}`, () => {
      const expected = isException ? undefined : "http://proxy:3128/";
      expect(proxyTo(server, { HTTPS_PROXY, NO_PROXY })).to.equal(expected);
    });
  }

  it("are refused when they cannot be used", () => {
    expect(() => parseProxyUrl("ftp://x", "HTTPS_PROXY")).to.throw(/HTTPS_PROXY .* not ftp:/);
    expect(() => parseProxyUrl("http://", "HTTPS_PROXY")).to.throw(/HTTPS_PROXY .* is not a URL/);
  });
});
