import { expect } from "chai";
import { anchorsOf, brokenLinks } from "../../dev/tasks/links.ts";

const broken = (pages: Readonly<Record<string, string>>, others: readonly string[] = []) =>
  brokenLinks(new Map(Object.entries(pages)), new Set(others));

describe("links of the documentation", () => {
  it("have anchors as GitHub writes them", () => {
    const text = [
      "# Order of `jobs.rota.dev`, now!",
      "## See [Install](install.md)",
      "## Twice",
      "```",
      "# a comment in a shell",
      "```",
      "## Twice",
    ].join("\n");
    expect([...anchorsOf(text)]).to.deep.equal([
      "order-of-jobsrotadev-now",
      "see-install",
      "twice",
      "twice-1",
    ]);
  });

  it("resolve to pages, files, folders and headings", () => {
    const pages = {
      "README.md": "[a](docs/a.md#one) [code](src/main.ts) [folder](docs) ![x](docs/x.svg)",
      "docs/a.md": "# One\n[up](../README.md), [here](#one), [web](https://example.com/none)",
    };
    expect(broken(pages, ["src/main.ts", "docs/x.svg"])).to.deep.equal([]);
  });

  it("are reported with file and line when they lead nowhere", () => {
    const pages = {
      "README.md": "first\n\n[a](docs/b.md) and [b](docs/a.md#two)",
      "docs/a.md": "# One\n[self](#none)\n[file](../src/gone.ts)",
    };
    expect(broken(pages)).to.deep.equal([
      "README.md:3: docs/b.md: there is no such file",
      "README.md:3: docs/a.md#two: the page has no such heading",
      "docs/a.md:2: #none: the page has no such heading",
      "docs/a.md:3: ../src/gone.ts: there is no such file",
    ]);
  });

  it("are not looked for in code", () => {
    expect(broken({ "README.md": "`[a](b.md)`\n\n```\n[a](b.md)\n```\n" })).to.deep.equal([]);
  });
});
