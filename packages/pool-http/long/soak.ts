/**
 * A minute (or as many seconds as the first argument says) of mixed load on one pool and four servers, two of them over TLS,
 * that do at random what servers should not, and of which one is away now and then; callers that abort, that read streams
 * in part or not at all. At the end nothing is lost: every call was answered, and no unsafe request was seen twice by a
 * server. Nothing is leaked: no connection, no socket, no timer, no listener. And the heap is flat.
 */
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { Heap } from "../../pool-db/long/soak/heap.ts";
import { HttpPool, type HttpRequest } from "../src/index.ts";
import { createTestAuthority, reply, startFaultServer, type FaultServer } from "../src/testing.ts";
import { RESPONSES } from "../test/support/random-faults.ts";

const SECONDS = Number(process.argv[2] ?? 60);
const seed = process.argv[3] === undefined ? Date.now() % 2_147_483_647 : Number(process.argv[3]);
const CALLERS = 32;
/** Of each so many milliseconds the last part is quiet: everything has to have ended by then. */
const PERIOD_MS = 5_000;
const QUIET_MS = 1_500;
const HEAP_SLACK_BYTES = 3_000_000;
/** The longest deadline here is 400 ms; the rest is for the machine. */
const ANSWERED_WITHIN_MS = 10_000;
const LIMITS = { maxConnsPerHost: 6, maxTotalConns: 16, maxIdleConns: 8, maxIdleConnsPerHost: 4 };
const UNSAFE = new Set(["POST", "PATCH"]);

const startedAt = performance.now();
const elapsedMs = (): number => performance.now() - startedAt;
const endMs = SECONDS * 1000;
console.log(`${SECONDS} seconds, seed ${seed}`);

let state = seed;
/** D. Lehmer's generator (Park and Miller). */
function random(): number {
  state = (state * 16_807) % 2_147_483_647;
  return state / 2_147_483_647;
}
const below = (limit: number): number => Math.floor(random() * limit);
const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T;

// ---- The servers and the pool ------------------------------------------------------------------------------------------

const resourcesBefore = process.getActiveResourcesInfo().toSorted();
const authority = createTestAuthority();
/** How often each unsafe request was seen, by its number. Of one size from the start. */
const seen = new Uint8Array(20_000_000);
const names = Object.keys(RESPONSES);
let calm = false;
const faulty = new Map<string, number>();

const start = (protocol: "http" | "https"): Promise<FaultServer> =>
  startFaultServer({
    protocol,
    authority,
    maxRequests: 100,
    maxBodyBytes: 100,
    heads: ({ method, path }) => {
      const id = Number(path.slice(1));
      if (UNSAFE.has(method)) seen[id] = (seen[id] ?? 0) + 1;
      return undefined;
    },
    requests: () => {
      const name = calm || random() < 0.6 ? "ok" : pick(names);
      faulty.set(name, (faulty.get(name) ?? 0) + 1);
      return RESPONSES[name] ?? reply(200);
    },
  });
const servers = [await start("http"), await start("http"), await start("https"), await start("https")];
const pool = new HttpPool({
  ...LIMITS,
  name: "soak",
  tls: { ca: authority.ca },
  idleConnTimeoutMs: 700,
  timeoutMs: 400,
  attemptTimeoutMs: 150,
  bodyGapTimeoutMs: 150,
  bodyTimeoutMs: 400,
  retryBaseMs: 2,
  retryCapMs: 20,
  maxRetries: 3,
});

// ---- The load ----------------------------------------------------------------------------------------------------------

const answers = new Map<string, number>();
const underWay = new Map<number, { readonly what: string; readonly since: number }>();
let calls = 0;
let longestMs = 0;

const KNOWN = new Set([
  "ERR_VG_HTTP_CONNECT",
  "ERR_VG_HTTP_NETWORK",
  "ERR_VG_HTTP_PROTOCOL",
  "ERR_VG_HTTP_TIMEOUT",
  "ERR_VG_HTTP_QUEUE_FULL",
  "the caller left",
]);

async function caller(): Promise<void> {
  while (elapsedMs() < endMs) {
    if (elapsedMs() % PERIOD_MS > PERIOD_MS - QUIET_MS) await delay(QUIET_MS + 50 * random());
    const id = calls++;
    const method = pick(["GET", "GET", "GET", "POST", "PATCH", "PUT", "DELETE"]);
    const since = performance.now();
    underWay.set(id, { what: `${method} /${id}`, since });
    const answer = await call(method, id);
    underWay.delete(id);
    longestMs = Math.max(longestMs, performance.now() - since);
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  }
}

async function call(method: string, id: number): Promise<string> {
  const abort = new AbortController();
  const leaves =
    random() < 0.1 ? setTimeout(() => abort.abort(new Error("the caller left")), 30 * random()) : undefined;
  const stream = random() < 0.4;
  const body = method === "GET" ? undefined : bodyOf(below(4));
  try {
    const response = await pool.do({ method, url: `${pick(servers).url}/${id}`, body, stream, signal: abort.signal });
    const what = stream ? below(4) : 0;
    if (what === 0) await response.bytes();
    else if (what === 1) await response.discard();
    else if (what === 2) for await (const piece of response.body) if (String(piece) !== "") break;
    // Else nobody reads it: bodyTimeoutMs ends it.
    return String(response.status);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    const answer = code ?? message;
    assert.ok(KNOWN.has(answer), `${method} /${id} failed with ${answer}: ${message}`);
    return answer;
  } finally {
    clearTimeout(leaves);
    if (!stream) assert.deepEqual(getEventListeners(abort.signal, "abort"), [], "listeners were left on a signal");
  }
}

function bodyOf(kind: number): NonNullable<HttpRequest["body"]> {
  if (kind === 0) return "text";
  if (kind === 1) return { json: true };
  if (kind === 2) return () => Readable.from([Buffer.from("made "), Buffer.from("anew")]);
  return Readable.from([Buffer.alloc(40_000), Buffer.from("once")]);
}

/** One server is away now and then, or loses all its connections. */
async function disturb(): Promise<void> {
  while (elapsedMs() < endMs) {
    await delay(100 + 400 * random());
    const server = pick(servers);
    if (random() < 0.5) server.resetConnections();
    else {
      await server.refuseConnections();
      if (random() < 0.5) server.resetConnections();
      await delay(50 * random());
      await server.acceptConnections();
    }
  }
}

const heap = new Heap();

async function watch(): Promise<void> {
  let printedAt = 0;
  for (let n = 1; elapsedMs() < endMs; n++) {
    await delay(50);
    const { open_connections, per_origin, in_flight } = pool.getStats();
    assert.ok(open_connections <= LIMITS.maxTotalConns, `${open_connections} connections`);
    for (const origin of Object.values(per_origin)) assert.ok(origin.open_connections <= LIMITS.maxConnsPerHost);
    for (const { what, since } of underWay.values()) {
      assert.ok(performance.now() - since < ANSWERED_WITHIN_MS, `${what} has not been answered`);
    }
    if (n % 10 !== 0) continue;
    const bytes = heap.sample();
    if (elapsedMs() - printedAt < 5_000) continue;
    printedAt = elapsedMs();
    const figures = `open ${open_connections}, in flight ${in_flight}, heap ${(bytes / 1e6).toFixed(1)} MB`;
    console.log(`${Math.round(printedAt / 1000)} s: ${calls} calls; ${figures}`);
  }
}

/** In the middle of each quiet time the servers see no more connections than may be idle. */
async function checkQuiet(): Promise<void> {
  let checked = 0;
  for (let end = PERIOD_MS; end <= endMs; end += PERIOD_MS) {
    await delay(Math.max(0, end - 50 - elapsedMs()));
    if (underWay.size > 0 || pool.getStats().in_flight > 0) continue;
    const open = servers.map(({ connections }) => connections.open);
    for (const each of open) assert.ok(each <= LIMITS.maxIdleConnsPerHost, `${each} idle connections of one host`);
    const all = open.reduce((sum, each) => sum + each, 0);
    assert.ok(all <= LIMITS.maxIdleConns, `${all} idle connections`);
    checked++;
  }
  console.log(`${checked} quiet times were quiet, and idle connections within their limits at the servers`);
}

await Promise.all([...Array.from({ length: CALLERS }, caller), disturb(), watch(), checkQuiet()]);

// ---- The books ---------------------------------------------------------------------------------------------------------

const list = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([what, count]) => `${count} ${what}`).join(", ");
console.log(`${calls} calls, all answered (the longest took ${Math.round(longestMs)} ms): ${list(answers)}`);
console.log(`The servers' answers: ${list(faulty)}`);
assert.equal(underWay.size, 0);
const twice = seen.findIndex((count) => count > 1);
assert.equal(twice, -1, `the unsafe request ${twice} was seen ${seen[twice]} times`);
console.log(`No unsafe request of ${seen.reduce((sum, count) => sum + count, 0)} was seen twice`);

await eventually("nothing is in flight", () => pool.getStats().in_flight === 0);
const stats = pool.getStats();
assert.equal(stats.request_count, calls);
assert.equal(stats.success_count + stats.error_count + stats.canceled_count, calls);
assert.equal(stats.queued, 0);
console.log(JSON.stringify(stats));

calm = true;
for (const { url } of servers) {
  // The pool is as good as new.
  const responses = await Promise.all(Array.from({ length: 50 }, () => pool.get(`${url}/0`, { timeoutMs: 10_000 })));
  assert.ok(responses.every(({ status }) => status === 200));
}
const growth = heap.growth();
console.log(`The heap has grown by ${Math.round(growth / 1000)} kB since it was warm`);
assert.equal((await pool.close()).killed, 0);
await Promise.all(servers.map((server) => server.connectionsDownTo(0)));
for (const server of servers) await server.close();
await eventually("no timer, socket or request is left", () => {
  const resources = process.getActiveResourcesInfo().toSorted();
  // The one that is being waited with.
  resources.splice(resources.indexOf("Timeout"), 1);
  return resources.join() === resourcesBefore.join();
});
assert.ok(growth < HEAP_SLACK_BYTES, `the heap grew by ${growth} bytes`);

async function eventually(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) {
      throw new Error(`never happened: ${what} (${process.getActiveResourcesInfo().join(", ")})`);
    }
    await delay(20);
  }
}
