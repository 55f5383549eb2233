/** A tenant's share is bounded: one at its worst, and the jobs of another one. `npm run bench -- tenant` measures it. */
import { expect } from "chai";
import type { Operator } from "../../dev/local/operator.ts";
import { type Installation, startInstallation, usualLease } from "../support/installation.ts";
import {
  CalmTenant,
  flood,
  greedyJobsQueued,
  greedyJobsWait,
  setUpTenancy,
  submitGreedyJobs,
} from "../support/tenant-load/scene.ts";

const jobs = Number(process.env["ROTA_TENANT_JOBS"] ?? 300);
const signatures = Math.ceil(jobs / 5);
const requestsPerSecond = 1000;
const patienceSeconds = 600;

describe("a tenant at its worst", () => {
  let installation: Installation;
  let operator: Operator;

  before(async () => {
    installation = await startInstallation();
    operator = await installation.operate(usualLease);
    await setUpTenancy(installation);
  });
  after(() => installation?.stop());

  it(`leaves room for others beside ${jobs} waiting jobs and a flood`, async () => {
    await submitGreedyJobs(installation, { jobs, signatures }, patienceSeconds);
    await greedyJobsWait(installation, operator, jobs, patienceSeconds);
    const calm = await CalmTenant.of(installation, operator);
    const stop = await flood(installation, operator, requestsPerSecond);
    const samples = [await calm.sample(), await calm.sample(), await calm.sample()];
    const { statuses } = await stop();
    const runningMillis = samples.map((sample) => Math.round(sample.runningMillis));
    console.log(`      ${JSON.stringify({ runningMillis, statuses })}`);
    expect(statuses["200"], "answers within the share").to.be.above(0);
    expect(statuses["429"], "refusals beyond the share").to.be.above(0);
    expect(Object.keys(statuses)).to.not.include("500");
    expect(await greedyJobsQueued(installation)).to.equal(jobs);
  });
});
