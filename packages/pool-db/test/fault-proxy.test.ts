/** The instrument itself: a test through a proxy that forwards too much, or too little, shows nothing. */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { FaultProxy } from "./fault-proxy.ts";
import { until, usePostgres } from "./support.ts";

const postgres = usePostgres();
const proxies: FaultProxy[] = [];

afterEach(() => {
  for (const proxy of proxies.splice(0)) proxy.close();
});

async function connectThrough(prepare?: FaultProxy["onLink"]): Promise<{ proxy: FaultProxy; client: pg.Client }> {
  const proxy = new FaultProxy(postgres.server);
  proxies.push(proxy);
  proxy.onLink = prepare;
  await proxy.listen();
  const { user, password } = postgres.server;
  const client = new pg.Client({ host: "127.0.0.1", port: proxy.port, user, password, database: "postgres" });
  client.on("error", () => undefined);
  await client.connect();
  return { proxy, client };
}

test("left alone it changes nothing, counts messages, and passes on the end", async () => {
  const { proxy, client } = await connectThrough();
  const text = "select n, repeat('x', n) as x from generate_series(1, 2000) as n";
  const { rows } = await client.query(text);
  expect(rows).toEqual(Array.from({ length: 2000 }, (_, n) => ({ n: n + 1, x: "x".repeat(n + 1) })));
  const [link] = proxy.links;
  expect([link?.toServer.count("Query"), link?.toClient.count("DataRow")]).toEqual([1, 2000]);
  expect(link?.toClient.count("ReadyForQuery")).toBe(2);
  await client.end();
  await until("both sides are closed", () => proxy.links.size === 0);
});

test.each([0, 1, 4, 5, 6, Infinity])(
  "it stops after %s bytes of the message that it was told, and goes on from there",
  async (keep) => {
    const { proxy, client } = await connectThrough();
    const [link] = proxy.links;
    const received: Buffer[] = [];
    const { stream } = (client as unknown as { connection: pg.Connection }).connection;
    stream.on("data", (bytes: Buffer) => received.push(bytes));
    const stopped = link?.toClient.stopAt("DataRow", { nth: 2, keep });
    const answer = client.query("select 'one' as a union all select 'two'");
    await stopped;
    await until("what may pass has come", () => Buffer.concat(received).includes("one"));
    const length = Buffer.concat(received).length;
    const whole = "D....".length + 2 + 4 + "two".length;
    const first = Buffer.concat(received).indexOf("one") + "one".length;
    await until("all of it has come", () => Buffer.concat(received).length === first + Math.min(keep, whole));
    expect(length).toBeLessThanOrEqual(first + Math.min(keep, whole));
    link?.toClient.resume();
    expect((await answer).rows).toEqual([{ a: "one" }, { a: "two" }]);
    await client.end();
  },
);

test("dripping, it hands over one byte at a time", async () => {
  const { proxy, client } = await connectThrough();
  const { stream } = (client as unknown as { connection: pg.Connection }).connection;
  const sizes = new Set<number>();
  stream.on("data", (bytes: Buffer) => sizes.add(bytes.length));
  for (const link of proxy.links) link.toClient.drips = true;
  expect((await client.query("select 'drop by drop' as text")).rows).toEqual([{ text: "drop by drop" }]);
  expect([...sizes]).toEqual([1]);
  await client.end();
});

test("a black hole keeps everything back, the end included, and gives it when it is healed", async () => {
  const { proxy, client } = await connectThrough();
  const [link] = proxy.links;
  link?.blackHole();
  const before = [link?.toServer.forwarded, link?.toClient.forwarded];
  const answer = client.query("select 1 as n");
  await delay(20);
  expect([link?.toServer.forwarded, link?.toClient.forwarded]).toEqual(before);
  link?.heal();
  expect((await answer).rows).toEqual([{ n: 1 }]);
  await client.end();
});

test("a reset reaches the client as one, and the server's session ends", async () => {
  const { proxy, client } = await connectThrough();
  const { rows } = await client.query("select pg_backend_pid() as pid");
  const [{ pid }] = rows as [{ pid: number }];
  const answer = client.query("select pg_sleep(0.2)").catch((error: unknown) => error);
  for (const link of proxy.links) link.reset();
  expect(await answer).toMatchObject({ code: "ECONNRESET" });
  await until("the session is gone", async () => {
    const sessions = await postgres.watch("select 1 from pg_stat_activity where pid = $1", [pid]);
    return sessions.rows.length === 0;
  });
});
