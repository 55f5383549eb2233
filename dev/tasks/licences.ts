/** `node dev/tasks/licences.ts`: what is installed with the program may be distributed under Apache-2.0. Part of `npm run check`. */
import { lockedPackages, type LockedPackage } from "./locked-packages.ts";

/** Category A of the ASF's third-party licence policy, as SPDX names them. */
const compatible = new Set([
  "0BSD",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "PSF-2.0",
  "Python-2.0",
  "Unlicense",
]);

export const rejectedLicences = (packages: readonly LockedPackage[]): string[] =>
  packages
    .filter(({ license }) => license === undefined || !compatible.has(license))
    .map(({ name, version, license }) => `${name} ${version}: ${license ?? "no licence stated"}`);

if (import.meta.main) {
  const refused = rejectedLicences(lockedPackages());
  for (const line of refused) console.error(`not known to be compatible with Apache-2.0: ${line}`);
  if (refused.length > 0) {
    console.error(
      "Use another package, or add the licence to dev/tasks/licences.ts once it is judged.",
    );
    process.exitCode = 1;
  }
}
