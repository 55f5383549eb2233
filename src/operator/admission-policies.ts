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

interface AdmissionPolicy {
  readonly kind: PolicyKind;
  readonly policy: string;
  /** What can happen without it. */
  readonly otherwise: string;
}

/** What binds the operator's own account, by what it must not do without. */
const fence: readonly (readonly [string, string])[] = [
  ["rota-fence-pods", "pods outside of projects, or of others"],
  ["rota-fence-namespaces", "namespaces that Rota did not make"],
  ["rota-fence-namespaces-of-projects", "objects outside of projects"],
  ["rota-fence-role-bindings", "RoleBindings to other roles than Rota's"],
  ["rota-fence-workloads", "workloads of others"],
  ["rota-fence-cluster-roles", "ClusterRoles"],
];

const policies: readonly AdmissionPolicy[] = [
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-commit-author",
    otherwise: "spec.author of a ConfigCommit is not verified",
  },
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-job-submitter",
    otherwise: "the annotation rota.dev/submitter of a Job can be anybody's name",
  },
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-pod-labels",
    otherwise: "users who may create pods in a namespace can label them as pods of a job",
  },
  {
    kind: "ValidatingAdmissionPolicy",
    policy: "rota-config-maps",
    otherwise: "users who may create ConfigMaps can replace the configuration of a commit",
  },
  ...fence.map(([policy, what]) => ({
    kind: "ValidatingAdmissionPolicy" as const,
    policy,
    otherwise: `whoever has the operator's credentials can change ${what}`,
  })),
  {
    kind: "MutatingAdmissionPolicy",
    policy: "rota-commit-author",
    otherwise: "a ConfigCommit has an author only if its creator sets one",
  },
  {
    kind: "MutatingAdmissionPolicy",
    policy: "rota-job-submitter",
    otherwise: "a Job has a submitter only if its creator sets one",
  },
];

type PolicyState = "in force" | "missing" | "unknown";

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

async function stateOf(
  kube: KubeClient,
  { kind, policy }: AdmissionPolicy,
  signal: AbortSignal,
): Promise<PolicyState> {
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

/** Registers the gauge: 1 per policy in force, 0 otherwise. */
export const admissionPolicyGauge = (metrics: Metrics): Gauge =>
  metrics.gauge({
    name: "admission_policy_in_force",
    help: "1 if the policy and its binding are installed, 0 if they are missing or cannot be read",
    labelNames: ["kind", "policy"],
  });

export interface AdmissionPolicyOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly gauge: Gauge;
}

const recheckSeconds = 600;

class AdmissionPolicies {
  readonly #options: AdmissionPolicyOptions;
  readonly #reported = new Map<AdmissionPolicy, PolicyState>();

  constructor(options: AdmissionPolicyOptions) {
    this.#options = options;
  }

  async check(signal: AbortSignal): Promise<void> {
    const { kube, gauge } = this.#options;
    for (const expected of policies) {
      const { kind, policy } = expected;
      const state = await stateOf(kube, expected, signal);
      gauge.set({ kind, policy }, state === "in force" ? 1 : 0);
      if (this.#reported.get(expected) !== state) this.#report(expected, state);
      this.#reported.set(expected, state);
    }
  }

  #report({ kind, policy, otherwise }: AdmissionPolicy, state: PolicyState): void {
    const { logger } = this.#options;
    if (state === "in force") logger.info("an admission policy is in force", { kind, policy });
    else logger.warn("not guaranteed by the cluster", { kind, policy, state, otherwise });
  }
}

/** Checks at once and then every ten minutes until the signal is aborted; never throws. */
export async function watchAdmissionPolicies(
  options: AdmissionPolicyOptions,
  signal: AbortSignal,
): Promise<void> {
  const checked = new AdmissionPolicies(options);
  while (!signal.aborted) {
    await checked.check(signal).catch((error: unknown) => {
      if (!signal.aborted)
        options.logger.warn("cannot read admission policies", { error: errorText(error) });
    });
    await sleepUnlessAborted(options.clock, recheckSeconds, signal);
  }
}
