/** What is installed with the program, as CycloneDX: npm's own bill without what is there for development alone. */

interface Component {
  readonly "bom-ref": string;
  readonly properties?: readonly { readonly name: string; readonly value: string }[];
}
interface Dependency {
  readonly ref: string;
  readonly dependsOn?: readonly string[];
}
interface Bill {
  readonly components: readonly Component[];
  readonly dependencies: readonly Dependency[];
}

const isForDevelopment = ({ properties = [] }: Component): boolean =>
  properties.some(({ name }) => name === "cdx:npm:package:development");

/**
 * Not by npm's --omit=dev, which drops a package, too, that a development package depends on besides the program (pg, undici).
 * @param text what `npm sbom --sbom-format=cyclonedx` prints
 */
export function withoutDevelopment(text: string): string {
  const bill = JSON.parse(text) as Bill;
  const dropped = new Set(
    bill.components.filter(isForDevelopment).map((component) => component["bom-ref"]),
  );
  const kept = (reference: string): boolean => !dropped.has(reference);
  const program: Bill = {
    ...bill,
    components: bill.components.filter((component) => kept(component["bom-ref"])),
    dependencies: bill.dependencies
      .filter(({ ref }) => kept(ref))
      .map(({ ref, dependsOn = [] }) => ({ ref, dependsOn: dependsOn.filter(kept) })),
  };
  return `${JSON.stringify(program, undefined, 2)}\n`;
}
