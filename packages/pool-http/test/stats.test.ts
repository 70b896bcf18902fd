import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { deferred, faultServer, rejection, reply, turns } from "./support/fault-server.ts";

test("a new pool has counted nothing and succeeds at everything", () => {
  const stats = new HttpPool().getStats();
  expect(stats).toEqual({
    request_count: 0,
    success_count: 0,
    error_count: 0,
    canceled_count: 0,
    retry_count: 0,
    success_rate: 1,
    avg_latency_ms: 0,
    p50_latency_ms: 0,
    p95_latency_ms: 0,
    p99_latency_ms: 0,
    total_bytes: 0,
    bytes_received: 0,
    bytes_sent: 0,
    timeout_count: 0,
    timeouts_by_phase: { queue: 0, connect: 0, tls: 0, headers: 0, body: 0, backoff: 0 },
    in_flight: 0,
    queued: 0,
    open_connections: 0,
    idle_connections: 0,
    connect_count: 0,
    connect_failure_count: 0,
    stale_resends: 0,
    avg_queue_ms: 0,
    p50_queue_ms: 0,
    p95_queue_ms: 0,
    p99_queue_ms: 0,
    retries_by_cause: { rejected: 0, status: 0, connect: 0, network: 0, timeout: 0 },
    per_origin: {},
  });
  expect(Object.isFrozen(stats)).toBe(true);
});

test("latencies are measured by the clock, and their mean is sum over count", async () => {
  let now = 0;
  await using server = await faultServer((socket, { number }) => {
    now += number === 0 ? 100 : 300;
    socket.write(reply(200));
  });
  await using pool = new HttpPool({ clock: { now: () => now } });
  await pool.get(server.url);
  await pool.get(server.url);
  expect(pool.getStats()).toMatchObject({ avg_latency_ms: 200, p99_latency_ms: 300 });
  expect(pool.getStats().per_origin[server.url]).toMatchObject({ request_count: 2, avg_latency_ms: 200 });
});

test("requests in flight are no failures, and a 404 is a success while a 500 is none", async () => {
  const hold = deferred();
  await using server = await faultServer((socket, { line }) => {
    const status = Number(/\/(\d+)/.exec(line)?.[1]);
    if (status === 0) void hold.promise.then(() => socket.write(reply(200)));
    else socket.write(reply(status));
  });
  await using pool = new HttpPool({ maxRetries: 0 });
  const held = pool.get(`${server.url}/0`);
  for (const status of [200, 404, 404, 500]) await pool.get(`${server.url}/${status}`);
  expect(pool.getStats()).toMatchObject({
    request_count: 5,
    success_count: 3,
    error_count: 1,
    success_rate: 0.75,
    in_flight: 1,
  });
  hold.resolve();
  await held;
  expect(pool.getStats()).toMatchObject({ success_rate: 0.8, in_flight: 0 });
});

test("bytes are those of bodies on the wire, both ways, retries included", async () => {
  await using server = await faultServer((socket, { number }) =>
    socket.write(reply(number === 0 ? 503 : 200, "12345")),
  );
  await using pool = new HttpPool({ retryBaseMs: 1 });
  await pool.put(server.url, "abc");
  await turns(2);
  expect(pool.getStats()).toMatchObject({ bytes_sent: 6, bytes_received: 10, total_bytes: 16 });
});

test("the time in the queue is counted apart from the dial", async () => {
  let now = 0;
  await using server = await faultServer((socket) => {
    now += 50;
    socket.write(reply(200));
  });
  await using pool = new HttpPool({ maxConnsPerHost: 1, clock: { now: () => now } });
  const [first, second] = await Promise.all([pool.get(server.url), pool.get(server.url)]);
  expect([first.timings.queue_ms, second.timings.queue_ms]).toEqual([0, 50]);
  expect(pool.getStats()).toMatchObject({ avg_queue_ms: 25, p99_queue_ms: 50 });
});

test("no more than 100 origins are kept apart", async () => {
  await using pool = new HttpPool({ maxRetries: 0, lookup: (_h, _o, done) => done(new Error("no"), "") });
  for (let i = 0; i < 120; i++) await rejection(pool.get(`http://h${i}.test/`));
  const { per_origin, error_count } = pool.getStats();
  expect([Object.keys(per_origin).length, error_count]).toEqual([100, 120]);
  expect(per_origin["http://h119.test"]).toMatchObject({ error_count: 1 });
});

test("an origin with requests in flight keeps its counters, however many others there are", async () => {
  const answers: (() => void)[] = [];
  const lookup = (_h: unknown, _o: unknown, done: (error: Error, address: string) => void): void => {
    answers.push(() => done(new Error("no"), ""));
  };
  await using pool = new HttpPool({ maxRetries: 0, lookup });
  const requests = Array.from({ length: 120 }, (_, i) => rejection(pool.get(`http://h${i}.test/`)));
  await turns(1);
  expect(Object.keys(pool.getStats().per_origin).length).toBe(120);
  for (const answer of answers) answer();
  await Promise.all(requests);
  const origins = Object.values(pool.getStats().per_origin);
  expect([origins.length, origins.every(({ in_flight, error_count }) => in_flight === 0 && error_count === 1)]).toEqual(
    [100, true],
  );
});
