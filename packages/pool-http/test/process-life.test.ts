import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const SERVER = `
import { createServer } from "node:http";
import { HttpPool } from "@vg/pool-http";
const server = createServer((_, response) => { response.write("x".repeat(200_000)); }).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = "http://127.0.0.1:" + server.address().port;
server.on("connection", (socket) => socket.unref());
server.unref();
`;

/** What a process prints until it ends by itself. */
async function run(program: string): Promise<string> {
  const child = promisify(execFile)(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module", "--eval", SERVER + program],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), timeout: 20_000 },
  );
  const { stdout } = await child;
  return stdout.trim();
}

test("a request that waits behind streams that nobody reads gets its timeout, and the process waits for it", async () => {
  const printed = await run(`
    const pool = new HttpPool({ maxConnsPerHost: 1, timeoutMs: 300 });
    await pool.get(url, { stream: true });
    await pool.get(url).catch((error) => console.log(error.code, error.phase));
  `);
  expect(printed).toBe("ERR_VG_HTTP_TIMEOUT queue");
});

test("a request whose body is never made gets its timeout, and the process waits for it", async () => {
  const printed = await run(`
    const pool = new HttpPool({ timeoutMs: 300 });
    await (await pool.get(url, { stream: true })).discard();
    await pool.post(url, () => new Promise(() => {})).catch((error) => console.log(error.code));
  `);
  expect(printed).toBe("ERR_VG_HTTP_TIMEOUT");
});

test("a stream that nobody reads lets the process end", async () => {
  const printed = await run(`
    const pool = new HttpPool({ timeoutMs: 30_000 });
    await pool.get(url, { stream: true });
    console.log("the end");
  `);
  expect(printed).toBe("the end");
});
