/** Every class of PostgreSQL's errors, raised by the server: each is retried, refused as a value, or reported. */
import { expect } from "chai";
import { run } from "../../src/db/client/connection-pool.ts";
import { courseOf, type Course } from "../../src/db/client/constraint-errors.ts";
import { storableJson, storableText } from "../../src/domain/text.ts";
import { RotaError } from "../../src/errors.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

/** Appendix A of PostgreSQL's manual: each class with some of its codes, and how Rota goes on. */
const classes: Readonly<Record<Course, readonly (readonly [string, readonly string[]])[]>> = {
  retried: [
    ["connection exception", ["08000", "08003", "08006", "08P01"]],
    ["transaction rollback", ["40000", "40001", "40002", "40003", "40P01"]],
    ["a standby that takes no writes", ["25006"]],
    ["a transaction that was idle for too long", ["25P03"]],
    ["insufficient resources", ["53000", "53100", "53200", "53300", "53400"]],
    ["object not in prerequisite state", ["55000", "55006", "55P03", "55P04"]],
    ["operator intervention", ["57000", "57014", "57P01", "57P02", "57P03", "57P05"]],
    ["system error", ["58000", "58030", "58P01", "58P02"]],
  ],
  refused: [
    [
      "data exception",
      ["22000", "22001", "22003", "22007", "22008", "22011", "22012", "22021", "22023", "22025"],
    ],
    ["data exception of PostgreSQL's own", ["22P01", "22P02", "22P03", "22P05", "2200G", "22030"]],
    ["program limit exceeded", ["54000", "54001", "54011", "54023"]],
  ],
  reported: [
    ["SQL statement not yet complete", ["03000"]],
    ["triggered action", ["09000"]],
    ["feature not supported", ["0A000"]],
    ["invalid transaction initiation", ["0B000"]],
    ["locator exception", ["0F000"]],
    ["invalid grantor", ["0L000"]],
    ["invalid role", ["0P000"]],
    ["diagnostics exception", ["0Z000"]],
    ["XQuery error", ["10608"]],
    ["case not found", ["20000"]],
    ["cardinality violation", ["21000"]],
    ["integrity constraint without a name of ours", ["23000", "23502", "23505", "23514"]],
    ["invalid cursor state", ["24000"]],
    ["invalid transaction state", ["25000", "25001", "25P02"]],
    ["invalid statement name", ["26000"]],
    ["triggered data change", ["27000"]],
    ["invalid authorization", ["28000", "28P01"]],
    ["dependent privilege descriptors", ["2B000", "2BP01"]],
    ["invalid transaction termination", ["2D000"]],
    ["SQL routine exception", ["2F000", "2F005"]],
    ["invalid cursor name", ["34000"]],
    ["external routine", ["38000", "39000", "39P01"]],
    ["savepoint exception", ["3B000"]],
    ["invalid catalog or schema", ["3D000", "3F000"]],
    ["syntax error or access rule violation", ["42000", "42501", "42P01", "42703"]],
    ["with check option", ["44000"]],
    ["configuration file", ["F0000", "F0001"]],
    ["foreign data wrapper", ["HV000"]],
    ["PL/pgSQL", ["P0000", "P0001", "P0002"]],
    ["internal error", ["XX000", "XX001", "XX002"]],
  ],
};

describe("errors of the database", () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());

  async function raised(code: string): Promise<unknown> {
    const statement = `DO $$ BEGIN RAISE EXCEPTION 'as it says' USING ERRCODE = '${code}'; END $$`;
    try {
      await run(database.pool, statement);
    } catch (error) {
      return error;
    }
    throw new Error(`${code} was not raised`);
  }

  /** `run` leaves what a transaction is run again for to `withTransaction`. */
  const courseOfError = (error: unknown): Course => {
    if (error instanceof RotaError) return courseOf(error.code);
    expect(error).to.have.property("code").that.is.oneOf(["40001", "40P01"]);
    return "retried";
  };

  for (const [course, described] of Object.entries(classes))
    for (const [name, codes] of described)
      it(`are ${course}: ${name}`, async () => {
        for (const code of codes) {
          const error = await raised(code);
          expect(courseOfError(error), code).to.equal(course);
          expect((error as Error).message, code).not.to.equal("");
        }
      });

  it("are none for any text or JSON", async () => {
    const odd = ["a\0b", "\ud800", "x\udc00y", "\u{1f600}", "\u0001", "", "\\u0000"];
    const [row] = await run<{ text: string; list: string[]; json: unknown }>(
      database.pool,
      "SELECT $1::text AS text, $2::text[] AS list, $3::jsonb AS json",
      [
        odd.join(" "),
        odd,
        storableJson({ odd, nested: Object.fromEntries(odd.map((key) => [key, key])) }),
      ],
    );
    expect(row?.text).to.equal(storableText(odd.join(" ")));
    expect(row?.list).to.deep.equal(odd.map(storableText));
    expect(row?.json).to.have.property("odd").that.deep.equals(odd.map(storableText));
  });
});
