/** The header's value for a planned proof of identity. */
import { randomBytes } from "node:crypto";
import { audience, proofType } from "../../../src/api/http/identity.ts";
import { signRequest, type ClientCertificate } from "../../../src/cli/signature.ts";
import { certificatesOf } from "../../../src/runtime/pem.ts";
import { authority, intermediate, leaf } from "../authorities.ts";
import type { ProofPlan, User } from "./generator.ts";

export interface Identities {
  readonly certificates: Readonly<Record<User, ClientCertificate>>;
  readonly robotToken: string;
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const randomSignature = (): string => randomBytes(64).toString("base64url");

/** DER of certificates to make chains of: of the cluster's users, and of authorities that nobody knows. */
async function foreignCertificates({ certificates }: Identities): Promise<Buffer[]> {
  const root = await authority("same");
  const below = await intermediate(root);
  const own = [root.cert, root.cert, below.cert, (await leaf(below)).cert, (await leaf(root)).cert];
  const others = Object.values(certificates).map(({ cert }) => cert);
  return [...own, ...others].flatMap((pem) => certificatesOf(pem).map(({ raw }) => raw));
}

function damaged(der: Buffer, damage: readonly [at: number, xor: number] | null): Buffer {
  if (damage === null) return der;
  const copy = Buffer.from(der);
  const at = damage[0] % copy.length;
  copy[at] = (copy[at] ?? 0) ^ damage[1];
  return copy;
}

export class Proofs {
  readonly #identities: Identities;
  readonly #foreign: readonly Buffer[];
  #last = "";

  private constructor(identities: Identities, foreign: readonly Buffer[]) {
    this.#identities = identities;
    this.#foreign = foreign;
  }

  static async create(identities: Identities): Promise<Proofs> {
    return new Proofs(identities, await foreignCertificates(identities));
  }

  /** Undefined: without the header. */
  async make(plan: ProofPlan, method: string, target: string): Promise<string | undefined> {
    switch (plan.kind) {
      case "robot":
        return this.#identities.robotToken;
      case "signed":
        return this.#signed(plan.user, method, target);
      case "elsewhere":
        return this.#signed(plan.user, method, `${target}x`);
      case "replayed":
        return this.#last === "" ? this.#signed(plan.user, method, target) : this.#last;
      case "damaged": {
        const text = await this.#signed(plan.user, method, target);
        const at = plan.at % text.length;
        return text.slice(0, at) + plan.by + text.slice(at + 1);
      }
      case "text":
        return plan.text;
      case "made":
        return `${part(plan.header)}.${part(plan.claims)}.${randomSignature()}`;
      case "chain":
        return this.#chain(plan, method, target);
      default:
        return undefined;
    }
  }

  async #signed(user: User, method: string, target: string): Promise<string> {
    this.#last = await signRequest(this.#identities.certificates[user], {
      method,
      target,
      audience,
    });
    return this.#last;
  }

  #chain(
    { certificates, damage, alg }: Extract<ProofPlan, { kind: "chain" }>,
    method: string,
    target: string,
  ): string {
    const x5c = certificates.map((index, place) => {
      const der = this.#foreign[index % this.#foreign.length] ?? Buffer.alloc(0);
      return damaged(der, place === 0 ? damage : null).toString("base64");
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = { aud: audience, iat: now, exp: now + 60, jti: randomSignature() };
    const header = part({ typ: proofType, alg, x5c });
    return `${header}.${part({ ...claims, request: `${method} ${target}` })}.${randomSignature()}`;
  }
}
