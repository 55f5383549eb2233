/** What the API server may answer about the eviction of a gang. */
import type { GangAnswer } from "../../src/scheduler/eviction-probe.ts";

export const mayAllGo: GangAnswer = { rejectedBy: undefined, uses: [] };
