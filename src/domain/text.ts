/** Text for counts, amounts of resources and durations, in messages and in the plugin's output. */
import { isInBytes } from "./resource-names.ts";
import { type ResourceType, unitOf } from "./resource-types.ts";

const gibibyte = 1024 ** 3;
const mebibyte = 1024 ** 2;

/**
 * The text as PostgreSQL can store it: NUL and halves of surrogate pairs, which it refuses, become U+FFFD. Texts of the
 * cluster (messages of kubelets, webhooks, device plugins) may have either.
 */
export const storableText = (text: string): string =>
  text.toWellFormed().replaceAll("\0", "\uFFFD");

const storable = (value: unknown): unknown => {
  if (typeof value === "string") return storableText(value);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [storableText(key), field]),
  );
};

/** The value as JSON that PostgreSQL can store: see `storableText`, for keys as well. */
export const storableJson = (value: unknown): string =>
  JSON.stringify(value, (_key, field: unknown) => storable(field));

/** At most two decimals, without trailing zeros: "2.5". */
const rounded = (value: number): string => String(Math.round(value * 100) / 100);

/** "1 pod", "3 pods". */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;

/** "a", "a and b", "a, b and c". */
export const listed = (parts: readonly string[]): string =>
  parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;

/** The first `max` names; the others are counted: "a, b and 3 more". */
export function listedUpTo(max: number, names: readonly string[]): string {
  const more = names.length - max;
  return listed([...names.slice(0, max), ...(more > 0 ? [`${more} more`] : [])]);
}

/** "1 GPU", "8 GPUs". */
export const gpusText = (gpus: number): string => counted(gpus, "GPU");

/** CPU millicores as a number of cores: "1.5". */
export const coresNumber = (cpuMillis: number): string => rounded(cpuMillis / 1000);

/** "1 core", "2.5 cores", of CPU millicores. */
export const coresText = (cpuMillis: number): string =>
  `${coresNumber(cpuMillis)} ${cpuMillis === 1000 ? "core" : "cores"}`;

/** "512 MiB", "1.5 GiB". */
export const memoryText = (bytes: number): string =>
  bytes > 0 && bytes < gibibyte
    ? `${rounded(bytes / mebibyte)} MiB`
    : `${rounded(bytes / gibibyte)} GiB`;

/** "2 example.com/fpga", "10 GiB of ephemeral-storage". */
export const namedAmountText = (name: string, amount: number): string =>
  isInBytes(name) ? `${memoryText(amount)} of ${name}` : `${amount} ${name}`;

/** A whole number of gibibytes, as a Kubernetes quantity: "16Gi". For columns. */
export const gibibytesText = (bytes: number): string => `${Math.round(bytes / gibibyte)}Gi`;

/** An amount of a resource type, in its unit of demand, where the unit follows: "8", "2.5", "512 MiB". */
export function typedNumber(type: ResourceType, amount: number): string {
  if (type === "CPU") return coresNumber(amount);
  return type === "memory" ? memoryText(amount) : String(amount);
}

/** "8 GPUs", "2.5 cores", "16 GiB of memory", "2 example.com/fpga", of an amount in its unit of demand. */
export function typedText(type: ResourceType, amount: number): string {
  if (type === "GPU") return gpusText(amount);
  if (type === "CPU") return coresText(amount);
  return type === "memory" ? `${memoryText(amount)} of memory` : namedAmountText(type, amount);
}

/** Of a plan: "8 GPUs", "4 cores", "16 GiB of memory", "2 example.com/fpga". */
export const quantityText = (type: ResourceType, quantity: number): string =>
  typedText(type, quantity * unitOf(type));

/** What a type's quantities count, in the plural: "GPUs", "cores", "GiB of memory", "example.com/fpga". */
export function unitText(type: ResourceType): string {
  const known: Readonly<Record<string, string>> = {
    GPU: "GPUs",
    CPU: "cores",
    memory: "GiB of memory",
  };
  return known[type] ?? type;
}

/** Seconds in the largest unit that is exact enough: "90 s", "5 min", "2.5 h". */
export function durationText(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${rounded(Math.round(seconds / 360) / 10)} h`;
}

const ageUnits = [
  { seconds: 86_400, name: "d" },
  { seconds: 3600, name: "h" },
  { seconds: 60, name: "m" },
] as const;

/** Seconds as kubectl prints an age: "3d4h", "5h12m", "8m", "12s". */
export function elapsedText(seconds: number): string {
  const total = Math.max(0, Math.floor(seconds));
  const index = ageUnits.findIndex((unit) => total >= unit.seconds);
  const unit = ageUnits[index];
  if (unit === undefined) return `${total}s`;
  const whole = `${Math.floor(total / unit.seconds)}${unit.name}`;
  const smaller = ageUnits[index + 1];
  const rest = smaller ? Math.floor((total % unit.seconds) / smaller.seconds) : 0;
  return smaller && rest > 0 ? `${whole}${rest}${smaller.name}` : whole;
}

/** Seconds as hours with a fixed number of decimals, for columns: "0.25", "123.4". */
export function hoursText(seconds: number): string {
  const hours = seconds / 3600;
  return hours.toFixed(hours < 10 ? 2 : 1);
}
