import { expect } from "chai";
import { isContract, takenAway } from "../../dev/tasks/migrations.ts";

describe("contracting migrations", () => {
  it("drop, rename or change what an older program may name", () => {
    const cases: readonly (readonly [sql: string, words: readonly string[]])[] = [
      ["ALTER TABLE jobs DROP COLUMN gpus;", ["DROP COLUMN"]],
      ["drop  table\n jobs;", ["drop table"]],
      ["ALTER TABLE jobs RENAME COLUMN gpus TO amount;", ["RENAME"]],
      ["ALTER TABLE jobs ALTER COLUMN gpus TYPE bigint;", ["ALTER COLUMN gpus TYPE"]],
      ["ALTER TABLE jobs ALTER COLUMN kind SET NOT NULL;", ["ALTER COLUMN kind SET NOT NULL"]],
      ["DROP FUNCTION job_is_live;", ["DROP FUNCTION job_is_live"]],
    ];
    for (const [sql, words] of cases) expect(takenAway(sql), sql).to.deep.equal(words);
  });

  it("do not add, or change what no program names", () => {
    const statements = [
      "ALTER TABLE jobs ADD COLUMN kind text;",
      "DROP TRIGGER jobs_a_transitions ON jobs; DROP INDEX jobs_idx;",
      "ALTER TABLE jobs DROP CONSTRAINT jobs_gpus_check;",
      "DROP FUNCTION job_is_live; CREATE FUNCTION job_is_live() RETURNS boolean RETURN true;",
      "-- once: DROP TABLE jobs\nCOMMENT ON TABLE jobs IS 'do not DROP COLUMN';",
    ];
    for (const sql of statements) expect(takenAway(sql), sql).to.deep.equal([]);
  });

  it("name the operators to stop first", () => {
    expect(isContract("-- contract: stop operators older than 0.3.0\nDROP TABLE jobs;")).to.equal(
      true,
    );
    expect(isContract("-- contract: stop all\nDROP TABLE jobs;")).to.equal(false);
  });
});
