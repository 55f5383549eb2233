/** Scenes on real nodes: required in CI, skipped elsewhere where the machine cannot have such nodes. */
import { whyNoRealNodes } from "../../../dev/local/real-nodes/requirements.ts";

/** As describe; skipped with its reason where there can be no real nodes, unless this is CI. */
export function describeOnRealNodes(title: string, scenes: (suite: Mocha.Suite) => void): void {
  const reason = whyNoRealNodes();
  if (reason === undefined || process.env["CI"] === "true") {
    describe(title, function () {
      scenes(this);
    });
    return;
  }
  console.error(`SKIPPED ${title}: ${reason}`);
  describe.skip(`${title} (${reason})`, function () {
    scenes(this);
  });
}
