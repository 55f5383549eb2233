import { expect } from "chai";
import { readSettings, SettingsError } from "../../src/settings/read.ts";
import { settingsReference, variables } from "../../src/settings/variables.ts";

const DATABASE_URL = "postgres://rota@127.0.0.1/rota";

const problemsOf = (environment: Readonly<Record<string, string>>): string => {
  try {
    readSettings(environment, false);
    return "none";
  } catch (error) {
    return error instanceof SettingsError ? error.message : String(error);
  }
};

describe("the operator's settings", () => {
  it("default to what the reference says", () => {
    const read: Readonly<Record<string, unknown>> = { ...readSettings({ DATABASE_URL }, false) };
    for (const [name, { default: standard, form }] of Object.entries(variables)) {
      if (form.kind === "whole") expect(read[name], name).to.equal(form.fallback);
      if (form.kind === "choice" && name !== "logFormat") {
        expect(String(read[name]), name).to.equal(standard);
      }
    }
    expect(read).to.include({ timeZone: "UTC", gpuResource: "nvidia.com/gpu", logFormat: "json" });
    expect(readSettings({ DATABASE_URL }, true).logFormat).to.equal("pretty");
    expect(read["apiAddress"]).to.equal(read["httpAddress"]);
  });

  it("have one variable each, named after them", () => {
    for (const [name, variable] of Object.entries(variables)) {
      const words = variable.name
        .replace(/^ROTA_/, "")
        .toLowerCase()
        .split("_");
      expect(words.join("")).to.equal(name.toLowerCase());
    }
    const names = settingsReference.map(({ name }) => name);
    expect(new Set(names).size).to.equal(names.length);
  });

  it("take names of time zones, no offsets", () => {
    for (const zone of ["Europe/Berlin", "Etc/GMT-2", "America/Port-au-Prince", "CET", "UTC"])
      expect(readSettings({ DATABASE_URL, ROTA_TIME_ZONE: zone }, false).timeZone).to.equal(zone);
    for (const zone of [
      "+02:00",
      "-05:00",
      "+0530",
      "2026-01-01T00:00[Europe/Berlin]",
      "Mars/Base",
    ])
      expect(problemsOf({ DATABASE_URL, ROTA_TIME_ZONE: zone })).to.include("ROTA_TIME_ZONE");
  });

  it("are accepted within bounds, and refused beyond all at once", () => {
    const given = { DATABASE_URL, ROTA_HISTORY_DAYS: "7", ROTA_CLAIM_LIMIT: "100000" };
    expect(readSettings(given, false)).to.include({ historyDays: 7, claimLimit: 100_000 });
    const message = problemsOf({
      DATABASE_URL,
      ROTA_HISTORY_DAYS: "6",
      ROTA_CLAIM_LIMIT: "1.5",
      ROTA_LEADER_ELECTION: "no",
      ROTA_GPU_RESOURCES: "nvidia.com/gpu,GPU",
      ROTA_API_CERT_FILE: "tls.crt",
    });
    expect(message.split("\n").slice(1)).to.deep.equal([
      '  - ROTA_GPU_RESOURCES must be a list of extended resources such as nvidia.com/gpu,amd.com/gpu, not "nvidia.com/gpu,GPU"',
      "  - ROTA_API_CERT_FILE and ROTA_API_KEY_FILE must be set together",
      '  - ROTA_CLAIM_LIMIT must be an integer from 1 to 100000, not "1.5"',
      '  - ROTA_HISTORY_DAYS must be an integer from 7 to 36500, not "6"',
      '  - ROTA_LEADER_ELECTION must be one of true, false, not "no"',
    ]);
  });
});
