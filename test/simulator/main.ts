/** `npm run simulate -- --days N --seed S --jobs-per-day N --time-zone ZONE`: as many days as one likes. */
import { parseArgs } from "node:util";
import { createTestDatabase } from "../support/database.ts";
import { withVirtualTime } from "../support/virtual-time.ts";
import { Simulation } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    days: { type: "string", default: "7" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    "jobs-per-day": { type: "string", default: "120" },
    "time-zone": { type: "string", default: "Europe/Berlin" },
  },
});
const database = await createTestDatabase();
const time = await withVirtualTime(database);
try {
  console.log(`seed ${values.seed}`);
  const report = await new Simulation({
    time,
    seed: Number(values.seed),
    days: Number(values.days),
    jobsPerDay: Number(values["jobs-per-day"]),
    timeZone: values["time-zone"],
    spares: true,
    onDay: (day, steps) => console.log(`day ${day} is over after ${steps} steps`),
  }).run();
  console.log(JSON.stringify(report, undefined, 2));
} finally {
  await time.close();
  await database.drop();
}
