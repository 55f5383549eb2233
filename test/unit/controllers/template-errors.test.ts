import { expect } from "chai";
import { templateRejection } from "../../../src/controllers/job/template-errors.ts";
import { KubeError } from "../../../src/kube/errors.ts";
import type { Project } from "../../../src/resources/types.ts";

const project = { name: "vision" } as Project;

const rejected = (status: object): string =>
  templateRejection(
    new KubeError({
      verb: "create",
      resource: "pods",
      name: "",
      status: 422,
      reason: "Invalid",
      explanation: "",
      ...status,
    }),
    {},
    project,
  );

describe("a rejected template", () => {
  it("names each field once, with its path in the job", () => {
    const words =
      'Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.containers[0].comand", duplicate field "spec.priority"';
    expect(rejected({ explanation: words })).to.equal(
      "spec.template.spec.containers[0].comand is an unknown field, spec.template.spec.priority is a repeated field",
    );
    const causes = [
      { field: "spec.containers[0].image", message: "Required value" },
      { field: "", message: "something else" },
    ];
    expect(rejected({ causes })).to.equal(
      "spec.template.spec.containers[0].image: Required value; spec.template: something else",
    );
  });

  it("names some of many invalid fields, and counts the rest", () => {
    const causes = Array.from({ length: 40 }, (_, index) => ({
      field: `spec.containers[${index}].image`,
      message: "Required value",
    }));
    const message = rejected({ causes });
    expect(message).to.match(
      /^spec\.template\.spec\.containers\[0\]\.image: Required value; .* and 35 more$/,
    );
    expect(message).not.to.contain("containers[5]");
  });
});
