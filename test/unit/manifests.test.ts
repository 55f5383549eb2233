/** What manifests/ say in two places says the same in both. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { load } from "js-yaml";
import { projectRoot } from "../../dev/local/paths.ts";

const text = (path: string): string => readFileSync(join(projectRoot, path), "utf8");
const manifest = <T>(path: string): T => load(text(`manifests/${path}`)) as T;

interface Deployment {
  readonly spec: {
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly [
          {
            readonly image: string;
            readonly env: readonly { readonly name: string; readonly value?: string }[];
            readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
          },
        ];
      };
    };
  };
}
interface Service {
  readonly metadata: { readonly labels: Readonly<Record<string, string>> };
  readonly spec: {
    readonly selector: Readonly<Record<string, string>>;
    readonly ports: readonly { readonly name: string; readonly targetPort: string }[];
  };
}
interface ServiceMonitor {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly endpoints: readonly { readonly port: string }[];
  };
}

describe("the operator's manifests", () => {
  const { template } = manifest<Deployment>("operator/deployment.yaml").spec;
  const [container] = template.spec.containers;
  const service = manifest<Service>("operator/service.yaml");
  const valueOf = (name: string): string | undefined =>
    container.env.find((variable) => variable.name === name)?.value;

  it("name the image of this version", () => {
    const { version } = JSON.parse(text("package.json")) as { readonly version: string };
    expect(container.image).to.equal(`rota:${version}`);
  });

  it("give the operator longer to drain than it takes", () => {
    const drainSeconds = Number(valueOf("ROTA_DRAIN_SECONDS"));
    expect(template.spec.terminationGracePeriodSeconds).to.be.at.least(drainSeconds + 7);
  });

  it("lead from the Service to the operator's port", () => {
    expect(template.metadata.labels).to.include(service.spec.selector);
    const port = container.ports.find(({ name }) => name === service.spec.ports[0]?.targetPort);
    expect(String(port?.containerPort)).to.equal(valueOf("ROTA_HTTP_PORT"));
  });

  it("lead from the ServiceMonitor to a port of the Service", () => {
    const monitor = manifest<ServiceMonitor>("overlays/monitoring/service-monitor.yaml");
    expect(service.metadata.labels).to.include(monitor.spec.selector.matchLabels);
    const ports = service.spec.ports.map(({ name }) => name);
    for (const { port } of monitor.spec.endpoints) expect(ports).to.include(port);
  });
});
