import { expect } from "chai";
import { diff, show } from "../../../src/cli/commands/config.ts";
import { structured } from "../../../src/cli/output.ts";
import type { Session } from "../../../src/cli/session.ts";

const evil = "a\u001b[2Jb\u009b1mc\u0007";

describe("kubectl rota config", () => {
  const commit = (name: string, content: unknown) => ({
    metadata: { name, namespace: "team", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { content, message: `${evil}\nline two`, author: evil, tag: evil, parent: evil },
    status: {},
  });
  const items = [commit("one", { [evil]: evil }), commit("two", { [evil]: `${evil}!` })];
  const session = {
    namespace: "team",
    connection: { client: { list: () => Promise.resolve(items) } },
  } as unknown as Session;
  const controls = /[^\P{Cc}\n]/u;

  it("prints no control characters of others", async () => {
    for (const command of [show("one"), diff("one", "two")]) {
      const text = (await command(session)).text();
      expect(text).to.contain("a").and.not.match(controls);
    }
    expect((await show("one")(session)).text()).to.contain("\nline two");
  });

  it("escapes control characters in JSON and YAML", () => {
    const value = { [evil]: evil };
    for (const format of ["json", "yaml"] as const) {
      expect(structured(value, format)).to.not.match(controls);
    }
    expect(JSON.parse(structured(value, "json"))).to.deep.equal(value);
  });
});
