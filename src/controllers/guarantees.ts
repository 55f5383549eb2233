/**
 * Which of Rota's admission policies are in force. The operator works without them; it says what is then not
 * guaranteed, at its start and whenever that changes.
 */
import type { KubeClient } from "../kube/client.ts";
import { isForbidden, isNotFound } from "../kube/errors.ts";
import type { KubeObject, ResourceName } from "../kube/resource.ts";
import { fieldsOf } from "../resources/meta.ts";
import { sleepUnlessAborted } from "../runtime/clock.ts";
import type { Clock } from "../runtime/clock.ts";
import { errorText } from "../runtime/logger.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Gauge, Metrics } from "../runtime/metrics.ts";

type PolicyKind = "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy";

interface Guarantee {
  readonly kind: PolicyKind;
  readonly policy: string;
  /** What can happen without it. */
  readonly otherwise: string;
}

const guarantees: readonly Guarantee[] = [
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-commit-author",
    otherwise: "spec.author of a ConfigCommit can be anybody's name",
  },
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-job-submitter",
    otherwise: "the annotation rota.dev/submitter of a Job can be anybody's name",
  },
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-pod-labels",
    otherwise: "whoever may create pods in a project's namespace can pass them off as a job's",
  },
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-config-maps",
    otherwise:
      "whoever may create ConfigMaps can put another configuration in the place of a commit's",
  },
  {
    kind: "MutatingAdmissionPolicy",
    policy: "rota-commit-author",
    otherwise: "a ConfigCommit has an author only where its maker writes one",
  },
  {
    kind: "MutatingAdmissionPolicy",
    policy: "rota-job-submitter",
    otherwise: "a Job has a submitter only where its maker writes one",
  },
];

type Standing = "in force" | "missing" | "unknown";

const resource = (kind: string): ResourceName => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: kind.toLowerCase().replace(/y$/, "ie").concat("s"),
  kind,
  namespaced: false,
});

/** A mutating binding has no actions; a validating one may only warn. */
const refuses = (kind: PolicyKind, binding: KubeObject): boolean => {
  const { validationActions } = fieldsOf(binding["spec"]);
  return (
    kind === "MutatingAdmissionPolicy" ||
    (Array.isArray(validationActions) && validationActions.includes("Deny"))
  );
};

async function standingOf(
  kube: KubeClient,
  { kind, policy }: Guarantee,
  signal: AbortSignal,
): Promise<Standing> {
  try {
    await kube.get(resource(kind), policy, { signal });
    const binding = await kube.get(resource(`${kind}Binding`), policy, { signal });
    return refuses(kind, binding) ? "in force" : "missing";
  } catch (error) {
    if (isNotFound(error)) return "missing";
    if (isForbidden(error)) return "unknown";
    throw error;
  }
}

export const guaranteeGauge = (metrics: Metrics): Gauge =>
  metrics.gauge({
    name: "admission_policy_in_force",
    help: "1 where the policy and its binding are installed; 0 where they are missing or may not be read",
    labelNames: ["kind", "policy"],
  });

export interface GuaranteeOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly gauge: Gauge;
}

const recheckSeconds = 600;

class Guarantees {
  readonly #options: GuaranteeOptions;
  readonly #said = new Map<Guarantee, Standing>();

  constructor(options: GuaranteeOptions) {
    this.#options = options;
  }

  async look(signal: AbortSignal): Promise<void> {
    const { kube, gauge } = this.#options;
    for (const guarantee of guarantees) {
      const { kind, policy } = guarantee;
      const standing = await standingOf(kube, guarantee, signal);
      gauge.set({ kind, policy }, standing === "in force" ? 1 : 0);
      if (this.#said.get(guarantee) !== standing) this.#say(guarantee, standing);
      this.#said.set(guarantee, standing);
    }
  }

  #say({ kind, policy, otherwise }: Guarantee, standing: Standing): void {
    const { logger } = this.#options;
    if (standing === "in force") logger.info("an admission policy is in force", { kind, policy });
    else logger.warn("not guaranteed by the cluster", { kind, policy, standing, otherwise });
  }
}

/** Looks at once and then now and then, until the signal is aborted; never throws. */
export async function watchGuarantees(
  options: GuaranteeOptions,
  signal: AbortSignal,
): Promise<void> {
  const guaranteed = new Guarantees(options);
  while (!signal.aborted) {
    await guaranteed.look(signal).catch((error: unknown) => {
      if (!signal.aborted)
        options.logger.warn("cannot read admission policies", { error: errorText(error) });
    });
    await sleepUnlessAborted(options.clock, recheckSeconds, signal);
  }
}
