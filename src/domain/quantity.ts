/** Kubernetes quantities (apimachinery's resource.Quantity): exact, rounded up where Kubernetes rounds up. */
const suffixes: Readonly<Record<string, bigint>> = {
  "": 1n,
  k: 1000n,
  M: 1000n ** 2n,
  G: 1000n ** 3n,
  T: 1000n ** 4n,
  P: 1000n ** 5n,
  E: 1000n ** 6n,
  Ki: 1024n,
  Mi: 1024n ** 2n,
  Gi: 1024n ** 3n,
  Ti: 1024n ** 4n,
  Pi: 1024n ** 5n,
  Ei: 1024n ** 6n,
};
const fractions: Readonly<Record<string, bigint>> = { m: 1000n, u: 1000n ** 2n, n: 1000n ** 3n };
const pattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3})|([a-zA-Z]*))$/;

const divideUp = (value: bigint, divisor: bigint): bigint =>
  value > 0n ? (value + divisor - 1n) / divisor : value / divisor;

/** The quantity times `scale`, rounded up. Throws RangeError if Kubernetes would reject it. */
function scaled(text: string, scale: bigint): number {
  const [, sign, whole = "", fraction = "", exponent, suffix = ""] = pattern.exec(text) ?? [];
  const multiplier = suffixes[suffix];
  const divisor = fractions[suffix];
  if (whole + fraction === "" || (multiplier === undefined && divisor === undefined)) {
    throw new RangeError(`not a quantity: "${text}"`);
  }
  const power = Number(exponent ?? 0) - fraction.length;
  const digits = BigInt(`${whole}${fraction}`) * (multiplier ?? 1n) * scale;
  const numerator = power > 0 ? digits * 10n ** BigInt(power) : digits;
  const denominator = (divisor ?? 1n) * (power < 0 ? 10n ** BigInt(-power) : 1n);
  const result = Number(divideUp(sign === "-" ? -numerator : numerator, denominator));
  if (!Number.isSafeInteger(result)) throw new RangeError(`the quantity ${text} is too large`);
  return result;
}

export const parseCpuMillis = (text: string): number => scaled(text, 1000n);
export const parseBytes = (text: string): number => scaled(text, 1n);
export const parseCount = (text: string): number => scaled(text, 1n);
