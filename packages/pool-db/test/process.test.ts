import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test } from "vitest";
import { usePostgres } from "./support.ts";
import { watchedPath } from "./watched-path.ts";

const postgres = usePostgres();

/** Runs a program of its own against the server, and returns what it printed and how it ended. */
async function run(program: string): Promise<{ output: string; code: number | null }> {
  const script = `
    const { DbPool, openDbPool } = await import(${JSON.stringify(import.meta.resolve("../src/index.ts"))});
    const dsn = process.env.TEST_DSN;
    ${program}
  `;
  const child = spawn(process.execPath, ["--conditions=@vg/source", "--input-type=module", "-e", script], {
    env: { ...process.env, TEST_DSN: postgres.server.dsn },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const [code] = (await once(child, "close")) as [number | null];
  return { output, code };
}

test("after close nothing keeps the process alive", async () => {
  const { output, code } = await run(`
    const pool = await openDbPool({ dsn, minIdleConns: 2 });
    const stuck = pool.query("select pg_sleep(600)").catch((error) => error.name);
    await pool.close({ deadlineMs: 20 });
    console.log(await stuck);
  `);
  expect(output).toBe("ConnectionLostError\n");
  expect(code).toBe(0);
});

test("with allowExitOnIdle a program ends without close, once it has its answer", async () => {
  const { output, code } = await run(`
    const pool = new DbPool({ dsn, allowExitOnIdle: true });
    console.log((await pool.queryRow("select 7 as n")).n);
  `);
  expect(output).toBe("7\n");
  expect(code).toBe(0);
});

test("who waits for a probe of a server that is down is not left by the process's end", async () => {
  const { output, code } = await run(`
    const pool = new DbPool({ host: "127.0.0.1", port: 1, user: "u", password: "p" });
    for (let i = 0; i < 4; i++) await pool.query("select 1").catch((error) => console.log(error.code));
    await pool.close();
  `);
  expect(output).toBe("ERR_VG_DB_CONNECT\n".repeat(4));
  expect(code).toBe(0);
});

test("a backend that is terminated under idle and lent connections does not end the process", async () => {
  const { output, code } = await run(`
    const pool = new DbPool({ dsn, application_name: "victims" });
    const client = await pool.connect();
    await pool.query("select 1");
    const killer = await openDbPool({ dsn });
    await killer.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victims'");
    while (pool.totalCount > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    client.release();
    console.log((await pool.queryRow("select 8 as n")).n);
    await pool.close();
    await killer.close();
  `);
  expect(output).toBe("8\n");
  expect(code).toBe(0);
});

test("a query that was given up, and a CancelRequest that nobody answers, keep no process alive", async () => {
  const path = await watchedPath(postgres.server, { onCancel: () => undefined });
  const { output, code } = await run(`
    const path = new URL(dsn);
    path.port = ${path.port};
    const pool = new DbPool({ dsn: String(path), allowExitOnIdle: true, cancelTimeoutMs: 600_000, resetTimeoutMs: 600_000 });
    await pool.query("select 1");
    const stuck = pool.query("select pg_sleep(600)", [], { timeoutMs: 50 });
    console.log(await stuck.catch((error) => error.name), pool.getStats().in_use);
  `);
  expect(output).toBe("QueryTimeoutError 1\n");
  expect(code).toBe(0);
  await path.close();
  await postgres.watch("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(600)'");
});

test("what a listener of notices or a tracer's callback throws is uncaught, as with pg, and costs nobody else an answer", async () => {
  const { output, code } = await run(`
    const { default: pg } = await import(${JSON.stringify(import.meta.resolve("pg"))});
    process.on("uncaughtException", (error) => console.log("uncaught", error.message));
    const pool = await openDbPool({ dsn, maxOpenConns: 1, transactionPooler: false });
    await pool.query("create function noisy() returns int language plpgsql as 'begin raise notice ''x''; return 1; end'");
    const conn = await pool.acquire();
    conn.client.on("notice", () => { throw new Error("the listener"); });
    console.log(await conn.query("select noisy()", [], { timeoutMs: 5_000 }).catch(({ code, cause }) => code + " " + cause.message));
    conn.release();
    console.log(await pool.queryRow("select 1 as n", [], { timeoutMs: 5_000 }));
    const { query } = pg.Client.prototype;
    pg.Client.prototype.query = function traced(given, ...rest) {
      const { callback } = given;
      given.callback = (...end) => { callback(...end); throw new Error("the tracer"); };
      return query.call(this, given, ...rest);
    };
    for (let n = 2; n < 4; n++) console.log(await pool.queryRow("select " + n + " as n", [], { timeoutMs: 5_000 }));
    await pool.close();
  `);
  expect(output.split("\n").toSorted()).toEqual(
    [
      "",
      "uncaught the listener",
      "ERR_VG_DB_CONNECTION_LOST the listener",
      "{ n: 1 }",
      "{ n: 2 }",
      "uncaught the tracer",
      "{ n: 3 }",
      "uncaught the tracer",
    ].toSorted(),
  );
  expect(code).toBe(0);
});
