/**
 * The metrics of a real run, the alerts and the dashboard: promtool finds nothing to say about either, every alert fires
 * on what it is for, and whatever a rule or a panel names exists.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { dump, load } from "js-yaml";
import { ensureGoTool, promtool } from "../../dev/local/go-tool.ts";
import { projectRoot } from "../../dev/local/paths.ts";
import { useTeam } from "../support/team.ts";

const folder = join(projectRoot, "manifests", "overlays", "monitoring");

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface RuleFile {
  readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[];
}

interface Dashboard {
  readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
}

const readRules = (): RuleFile =>
  (load(readFileSync(join(folder, "prometheus-rule.yaml"), "utf8")) as { spec: RuleFile }).spec;

const readDashboard = (): Dashboard =>
  JSON.parse(readFileSync(join(folder, "dashboard.json"), "utf8")) as Dashboard;

/** The names of metrics in an expression, without the suffixes of a histogram. */
const namesIn = (expression: string): string[] =>
  (expression.match(/\b(rota|process)_[a-z_]+/g) ?? []).map((name) =>
    name.replace(/_(bucket|sum|count)$/, ""),
  );

const familiesIn = (metrics: string): Set<string> =>
  new Set([...metrics.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name ?? ""));

describe("monitoring", () => {
  let tool: string;
  const directory = mkdtempSync(join(tmpdir(), "rota-promtool-"));
  const team = useTeam();

  const run = (...args: string[]): string => execFileSync(tool, args, { encoding: "utf8" });

  before(async function () {
    this.timeout(900_000); // the first build of promtool
    tool = await ensureGoTool(promtool);
    await team.pool("gpu");
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it("has valid rules, and fires each alert as meant", () => {
    const { groups } = readRules();
    writeFileSync(join(directory, "all.yaml"), dump({ groups }));
    expect(
      run("check", "rules", "--lint=all", "--lint-fatal", join(directory, "all.yaml")),
    ).to.match(/SUCCESS/);
    const bare = groups.map(({ name, rules }) => ({
      name,
      rules: rules.map(({ alert, expr, labels, for: pending }) => ({
        alert,
        expr,
        labels,
        for: pending,
      })),
    }));
    writeFileSync(join(directory, "rules.yaml"), dump({ groups: bare }));
    const tests = readFileSync(join(projectRoot, "test", "monitoring", "alerts.test.yaml"), "utf8");
    writeFileSync(join(directory, "tests.yaml"), tests);
    expect(run("test", "rules", join(directory, "tests.yaml"))).to.match(/SUCCESS/);
    for (const { alert } of groups.flatMap(({ rules }) => rules)) {
      const fires = new RegExp(`alertname: ${alert}\\n(.*\\n)?\\s+exp_alerts:(?! \\[\\])`);
      expect(tests, `a test in which ${alert} fires`).to.match(fires);
    }
  });

  it("has a runbook for each alert", () => {
    const runbooks = readFileSync(join(projectRoot, "docs", "operations", "runbooks.md"), "utf8");
    const headings = [...runbooks.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
    const alerts = readRules().groups.flatMap(({ rules }) => rules);
    expect(alerts.map(({ alert }) => alert)).to.have.members(headings);
    for (const { alert, annotations } of alerts) {
      expect(annotations?.["runbook_url"]).to.match(new RegExp(`#${alert.toLowerCase()}$`));
    }
  });

  it("serves all metrics of rules, panels and reference", async () => {
    const { view } = team;
    await team.run("low", { gpus: 8, pool: "gpu" });
    await team.run("high", { gpus: 8, pool: "gpu", priorityClassName: "high" });
    const metrics = await view.until("the metrics to show the running job", async () => {
      const text = await (await fetch(`${team.operator.url}/metrics`)).text();
      return (
        /^rota_jobs\{pool="gpu",state="running",priority_class="high"\} 1$/m.test(text) && text
      );
    });
    execFileSync(tool, ["check", "metrics"], { input: metrics });
    expect(metrics).to.match(/^rota_preemptions_total\{pool="gpu",rule="LowerPriority"\} 1$/m);
    expect(metrics).to.match(/^rota_evictions_total\{outcome="accepted"\} 1$/m);
    expect(metrics).to.match(/^rota_leader_election_master_status 1$/m);
    expect(metrics).to.match(/^rota_project_usage\{.*project="team",.*mode="entitled".*\} 8$/m);
    const served = familiesIn(metrics);
    const inRules = readRules().groups.flatMap(({ rules }) => rules.map(({ expr }) => expr));
    const inPanels = readDashboard().panels.flatMap(({ targets }) =>
      targets.map(({ expr }) => expr),
    );
    for (const name of [...inRules, ...inPanels].flatMap(namesIn)) {
      expect(served.has(name), `${name} is served`).to.equal(true);
    }
    const reference = readFileSync(join(projectRoot, "docs", "reference", "metrics.md"), "utf8");
    const documented = [...reference.matchAll(/^\| `(rota_\w+)`/gm)].map(([, name]) => name ?? "");
    const own = [...served].filter((name) => name.startsWith("rota_"));
    expect(own.toSorted()).to.deep.equal(documented.toSorted());
  });
});
