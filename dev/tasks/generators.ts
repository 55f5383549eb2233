/** The list of generators: each returns the files it makes, as the text they should have. */
import type { Generator } from "./generators/types.ts";
import { generateSchema } from "./generators/schema.ts";
import { generateApiTypes } from "./generators/api-types.ts";
import { generateChart } from "./generators/chart.ts";
import { generateCliDoc } from "./generators/cli-doc.ts";
import { generateHttpApiDoc } from "./generators/http-api-doc.ts";
import { generateResourcesDoc } from "./generators/resources-doc.ts";
import { generateMetricsDoc } from "./generators/metrics-doc.ts";
import { generateReasonsDoc } from "./generators/reasons-doc.ts";
import { generateSettingsDoc } from "./generators/settings-doc.ts";

export const generators: readonly Generator[] = [
  generateApiTypes,
  generateChart,
  generateResourcesDoc,
  generateHttpApiDoc,
  generateCliDoc,
  generateReasonsDoc,
  generateSettingsDoc,
  generateMetricsDoc,
  generateSchema,
];
