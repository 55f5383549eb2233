/** The list of processes started for a folder, kept on disk so that whoever comes later can end them. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProcessRecord } from "./processes.ts";

const fileOf = (directory: string): string => join(directory, "processes.json");

const isRecord = (value: unknown): value is ProcessRecord =>
  typeof value === "object" &&
  value !== null &&
  "name" in value &&
  "pid" in value &&
  "identity" in value &&
  typeof value.name === "string" &&
  typeof value.pid === "number" &&
  typeof value.identity === "string";

/** A file that cannot be read as a list of processes names none. */
export function readProcesses(directory: string): readonly ProcessRecord[] {
  if (!existsSync(fileOf(directory))) return [];
  try {
    const parsed: unknown = JSON.parse(readFileSync(fileOf(directory), "utf8"));
    return Array.isArray(parsed) ? parsed.filter(isRecord) : [];
  } catch {
    return [];
  }
}

export function writeProcesses(directory: string, records: readonly ProcessRecord[]): void {
  const file = fileOf(directory);
  if (records.length === 0) return rmSync(file, { force: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${file}.tmp`, `${JSON.stringify(records, undefined, 2)}\n`);
  renameSync(`${file}.tmp`, file);
}

/** Adds a process; an earlier one of the same name is replaced. */
export function recordProcess(directory: string, record: ProcessRecord): void {
  const others = readProcesses(directory).filter(({ name }) => name !== record.name);
  writeProcesses(directory, [...others, record]);
}
