import { expect, test } from "vitest";
import { HttpPool, type HttpOriginStats } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { deferred, faultServer, httpServer, rejection, reply, turns } from "./support/fault-server.ts";

test("a new pool has counted nothing and succeeds at everything", () => {
  const stats = new HttpPool().getStats();
  expect(stats).toEqual({
    request_count: 0,
    success_count: 0,
    error_count: 0,
    canceled_count: 0,
    success_rate: 1,
    attempt_count: 0,
    reuse_ratio: 0,
    retry_count: 0,
    retries_by_cause: { rejected: 0, status: 0, connect: 0, network: 0, timeout: 0 },
    retries_denied: 0,
    stale_resends: 0,
    avg_latency_ms: 0,
    p50_latency_ms: 0,
    p95_latency_ms: 0,
    p99_latency_ms: 0,
    p999_latency_ms: 0,
    avg_queue_ms: 0,
    p50_queue_ms: 0,
    p95_queue_ms: 0,
    p99_queue_ms: 0,
    p999_queue_ms: 0,
    avg_connect_ms: 0,
    p50_connect_ms: 0,
    p95_connect_ms: 0,
    p99_connect_ms: 0,
    p999_connect_ms: 0,
    avg_tls_ms: 0,
    p50_tls_ms: 0,
    p95_tls_ms: 0,
    p99_tls_ms: 0,
    p999_tls_ms: 0,
    avg_first_byte_ms: 0,
    p50_first_byte_ms: 0,
    p95_first_byte_ms: 0,
    p99_first_byte_ms: 0,
    p999_first_byte_ms: 0,
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
    closed_by_reason: {
      idle_timeout: 0,
      max_lifetime: 0,
      max_idle: 0,
      max_total: 0,
      asked: 0,
      stale: 0,
      not_kept: 0,
      request_failed: 0,
      tls_replaced: 0,
      server: 0,
      pool_closed: 0,
    },
    leak_count: 0,
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

test("attempts are counted, and how many of them went over a connection that had served before", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(number === 1 ? 503 : 200)));
  await using pool = new HttpPool({ retryBaseMs: 1 });
  for (let i = 0; i < 3; i++) await pool.get(server.url);
  const counts = { request_count: 3, attempt_count: 4, retry_count: 1, reuse_ratio: 0.75, connect_count: 1 };
  expect(pool.getStats()).toMatchObject(counts);
  expect(pool.getStats().per_origin[server.url]).toMatchObject({
    ...counts,
    retries_by_cause: { rejected: 1, status: 0 },
  });
});

test("each origin has the counters of its own requests, bytes and times included", async () => {
  await using a = await faultServer((socket) => socket.write(reply(200, "four")));
  await using b = await faultServer((socket) => socket.write(reply(500, "sixsix")));
  let now = 0;
  await using pool = new HttpPool({ maxRetries: 0, clock: { now: () => now++ } });
  await pool.post(a.url, "x");
  await pool.post(a.url, "x");
  await pool.post(b.url, "yy");
  const { per_origin, ...total } = pool.getStats();
  const [ofA, ofB] = [per_origin[a.url], per_origin[b.url]] as [HttpOriginStats, HttpOriginStats];
  expect(ofA).toMatchObject({ success_count: 2, bytes_sent: 2, bytes_received: 8, total_bytes: 10, reuse_ratio: 0.5 });
  expect(ofB).toMatchObject({ error_count: 1, bytes_sent: 2, bytes_received: 6, success_rate: 0, connect_count: 1 });
  for (const key of ["request_count", "attempt_count", "total_bytes", "connect_count", "open_connections"] as const) {
    expect(total[key]).toBe(ofA[key] + ofB[key]);
  }
  for (const origin of [ofA, ofB]) {
    expect(origin.avg_first_byte_ms).toBeGreaterThan(0);
    expect(origin.avg_connect_ms).toBeGreaterThan(0);
    expect(origin.p999_latency_ms).toBeGreaterThanOrEqual(origin.p50_latency_ms);
    expect(origin.avg_tls_ms).toBe(0);
  }
  expect(3 * total.avg_latency_ms).toBeCloseTo(2 * ofA.avg_latency_ms + ofB.avg_latency_ms, 9);
});

test("dials, handshakes and first bytes have times of their own", async () => {
  const certificates = await makeCertificates();
  await using server = await httpServer((_request, response) => response.end("ok"), certificates.server);
  await using pool = new HttpPool({ tls: { ca: certificates.ca } });
  for (let i = 0; i < 2; i++) await pool.get(server.url);
  const stats = pool.getStats();
  const { connect, tls, first_byte, latency, queue } = pool.histograms();
  expect([connect.count, tls.count, first_byte.count, latency.count, queue.count]).toEqual([1, 1, 2, 2, 2]);
  expect(stats.p50_connect_ms).toBe(stats.avg_connect_ms);
  expect(stats.p999_tls_ms).toBe(stats.avg_tls_ms);
  expect(stats.avg_tls_ms).toBeGreaterThan(0);
  expect(first_byte.sum_ms).toBeLessThanOrEqual(latency.sum_ms);
});

test("histograms are cumulative counts by upper bound, for a metrics endpoint", async () => {
  let now = 0;
  await using server = await faultServer((socket, { number }) => {
    now += [0.3, 3, 30, 300_000][number] as number;
    socket.write(reply(200));
  });
  await using pool = new HttpPool({ clock: { now: () => now }, timeoutMs: 1_000_000 });
  for (let i = 0; i < 4; i++) await pool.get(server.url);
  const { latency } = pool.histograms();
  expect([latency.count, latency.sum_ms]).toEqual([4, 300_033.3]);
  const counts = Object.fromEntries(latency.buckets.map(({ le_ms, count }) => [le_ms, count]));
  expect(counts).toMatchObject({ 0.25: 0, 0.5: 1, 2.5: 1, 5: 2, 50: 3, 60_000: 3 });
  expect(latency.buckets.every(({ count }, i) => count >= (latency.buckets[i - 1]?.count ?? 0))).toBe(true);
  expect([Object.isFrozen(latency), Object.isFrozen(latency.buckets)]).toEqual([true, true]);
});

test("connections are counted by why they were closed", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/close")) socket.end(reply(200, "", { connection: "close" }));
    else if (line.includes("/reset")) socket.resetAndDestroy();
    else if (!line.includes("/silent")) socket.write(reply(200));
  });
  const pool = new HttpPool({ maxRetries: 0, maxIdleConns: 2 });
  const closed = () => pool.getStats().closed_by_reason;
  await pool.get(`${server.url}/close`);
  await turns(2);
  expect(closed()).toMatchObject({ not_kept: 1 });
  await rejection(pool.get(`${server.url}/reset`));
  await rejection(pool.get(`${server.url}/silent`, { timeoutMs: 10 }));
  await turns(2);
  expect(closed()).toMatchObject({ request_failed: 2 });
  await Promise.all([1, 2, 3].map(() => pool.get(server.url)));
  await turns(3);
  expect(closed()).toMatchObject({ max_idle: 1 });
  expect(pool.closeIdleConnections()).toBe(2);
  expect(closed()).toMatchObject({ asked: 2 });
  await pool.get(server.url);
  const gone = server.socketsDownTo(0);
  for (const socket of server.sockets) socket.destroy();
  await gone;
  while (pool.getStats().open_connections > 0) await turns(1);
  expect(closed()).toMatchObject({ server: 1 });
  await pool.get(server.url);
  await pool.close();
  const { connect_count } = pool.getStats();
  expect(closed()).toMatchObject({ pool_closed: 1 });
  expect(Object.values(closed()).reduce((sum, count) => sum + count, 0)).toBe(connect_count);
});

test("health checks have no part in the statistics of requests", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool();
  await pool.health(server.url);
  expect(pool.getStats()).toMatchObject({ request_count: 0, attempt_count: 0, connect_count: 1, per_origin: {} });
});

test("a life that is over and replaced TLS settings are reasons of their own", async () => {
  let now = 0;
  const certificates = await makeCertificates();
  await using server = await httpServer((_request, response) => response.end("ok"), certificates.server);
  const tls = { ca: certificates.ca };
  await using pool = new HttpPool({ tls, http2: "off", maxConnLifetimeMs: 1000, clock: { now: () => now } });
  await pool.get(server.url);
  now += 1001;
  await pool.get(server.url);
  expect(pool.getStats().closed_by_reason).toMatchObject({ max_lifetime: 1 });
  await turns(2);
  pool.setTls(tls);
  expect(pool.getStats().closed_by_reason).toMatchObject({ max_lifetime: 1, tls_replaced: 1 });
});
