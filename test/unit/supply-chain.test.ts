import { expect } from "chai";
import { rejectedLicences } from "../../dev/tasks/licences.ts";
import { productionPackages } from "../../dev/tasks/locked-packages.ts";

const lock = JSON.stringify({
  lockfileVersion: 3,
  packages: {
    "": { name: "rota", license: "Apache-2.0" },
    "node_modules/pg": { version: "8.0.0", license: "MIT" },
    "node_modules/pg/node_modules/@scope/inner": { version: "1.0.0", license: "GPL-3.0-only" },
    "node_modules/silent": { version: "2.0.0" },
    "node_modules/mocha": { version: "12.0.0", license: "GPL-3.0-only", dev: true },
    "node_modules/either": { version: "3.0.0", license: "ISC", devOptional: true },
  },
});

describe("the set of production packages", () => {
  it("is every locked package not only for development", () => {
    const names = productionPackages(lock).map(({ name }) => name);
    expect(names).to.deep.equal(["pg", "@scope/inner", "silent", "either"]);
  });

  it("must state a licence that is compatible with Apache-2.0", () => {
    expect(rejectedLicences(productionPackages(lock))).to.deep.equal([
      "@scope/inner 1.0.0: GPL-3.0-only",
      "silent 2.0.0: no licence stated",
    ]);
  });
});
