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
const pattern = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+)|([a-zA-Z]*))$/;

/** A longer text is no realistic amount, and its exact value would use much memory. */
const maxLength = 256;
/** Kubernetes caps every quantity at an int64; a larger power of ten exceeds the cap, or rounds to 1. */
const maxPower = 512;
const maxQuantity = 2n ** 63n - 1n;

/**
 * The amount at which amounts of cpu (millicores), memory (bytes), devices and pods saturate: 512 TiB, more than any
 * node has. Sums of sixteen are exact in a double, and the pods of the largest gang (10,000) fit a bigint column.
 */
export const maxAmount = 2 ** 49;

const divideUp = (value: bigint, divisor: bigint): bigint =>
  value > 0n ? (value + divisor - 1n) / divisor : value / divisor;

const clamp = (value: bigint, limit: bigint): bigint =>
  value > limit ? limit : value < -limit ? -limit : value;

/** The quantity times `scale`, rounded up. Throws RangeError if Kubernetes would reject it. */
function scaled(text: string, scale: bigint): bigint {
  const parts = text.length > maxLength ? null : pattern.exec(text);
  const [, sign, whole = "", fraction = "", exponent = "0", suffix = ""] = parts ?? [];
  const multiplier = suffixes[suffix];
  const divisor = fractions[suffix];
  if (whole + fraction === "" || (multiplier === undefined && divisor === undefined)) {
    throw new RangeError(`not a quantity: "${text.slice(0, maxLength)}"`);
  }
  const tens = Math.max(-maxPower, Math.min(maxPower, Number(exponent)));
  const power = tens - fraction.length;
  const digits = BigInt(`${whole}${fraction}`) * (multiplier ?? 1n) * scale;
  const numerator = power > 0 ? digits * 10n ** BigInt(power) : digits;
  const denominator = (divisor ?? 1n) * (power < 0 ? 10n ** BigInt(-power) : 1n);
  return clamp(divideUp(sign === "-" ? -numerator : numerator, denominator), maxQuantity * scale);
}

/** Limits an amount to the range of sums: 0 to `maxAmount`. */
export const saturate = (amount: number): number => Math.max(0, Math.min(maxAmount, amount));

const saturated = (text: string, scale: bigint): number => saturate(Number(scaled(text, scale)));

/** CPU in millicores, saturating. Throws RangeError on a malformed quantity, as do the next two. */
export const parseCpuMillis = (text: string): number => saturated(text, 1000n);
/** Memory in bytes, saturating. */
export const parseBytes = (text: string): number => saturated(text, 1n);
/** Devices or pods, saturating. */
export const parseCount = (text: string): number => saturated(text, 1n);
/** Any amount in thousandths, exact up to Kubernetes' cap. Throws RangeError on a malformed quantity. */
export const exactMillis = (text: string): bigint => scaled(text, 1000n);
/** The size of a storage in bytes, exact up to Kubernetes' cap, 2^63-1. Throws RangeError on a malformed quantity. */
export const exactBytes = (text: string): bigint => scaled(text, 1n);
