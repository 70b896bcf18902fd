/**
 * Random requests against servers with random scripts, and what must hold whatever comes of them. Counted at the servers:
 * no unsafe request is seen twice, not even in part; no limit on connections is passed. And every call ends, and nothing
 * is left. Used by the property tests and, for longer, by long/random-faults.ts.
 */
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { Readable } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { HttpPool } from "../../src/index.ts";
import {
  close,
  closeAfterResponse,
  drippingBody,
  garbage,
  garbageAfterResponse,
  halfHeader,
  head,
  interimStorm,
  raw,
  reply,
  reset,
  resetAfterHeaders,
  resetAfterResponse,
  resetBeforeHeaders,
  retryAfter,
  stall,
  startFaultServer,
  truncatedBody,
  truncatedChunks,
  wait,
  wrongEncoding,
  type FaultServer,
  type Script,
} from "../../src/testing.ts";
import { heldNow, heldSince } from "./resources.ts";

/** What becomes of a request that has come whole. */
export const RESPONSES: Readonly<Record<string, Script>> = {
  ok: reply(200),
  large: reply(200, { body: "x".repeat(200_000) }),
  slow: [wait(3), reply(200)],
  "never answers": stall(),
  "reset at once": resetBeforeHeaders(),
  "hangs up at once": close(),
  "reset after headers": resetAfterHeaders(),
  "reset right after": resetAfterResponse(0),
  "reset later": resetAfterResponse(2),
  "hangs up after": closeAfterResponse(),
  "announces its end": [reply(200, { headers: { connection: "close" } }), close()],
  "half a header": halfHeader(),
  "half a header, reset": [raw("HTTP/1.1 20"), reset()],
  truncated: truncatedBody(),
  "truncated chunks": truncatedChunks("x", { within: true }),
  "headers only": [head(200, { "content-length": 5 }), stall()],
  drips: drippingBody("x".repeat(100), { everyMs: 2 }),
  interim: interimStorm(20),
  garbage: garbage(),
  "poisoned behind": garbageAfterResponse(),
  "noise behind": garbageAfterResponse("\0\0\0"),
  "wrong encoding": wrongEncoding(),
  "503": retryAfter(0),
  "429": retryAfter(0, { status: 429 }),
  "500": reply(500),
  "503 and hangs up": [...[retryAfter(0)].flat(), close()],
  "503 and reset": resetAfterResponse(0, reply(503)),
  "408 and closes": [reply(408, { headers: { connection: "close" } }), close()],
};

/** What becomes of an upload whose head has come. */
const UPLOADS: Readonly<Record<string, Script | undefined>> = {
  "reads on": undefined,
  "reset in the middle": reset(),
  "hangs up in the middle": close(),
  "answers early": reply(413),
  "answers early and hangs up": [reply(503), close()],
};

/** What becomes of a connection. */
const CONNECTIONS: Readonly<Record<string, Script>> = {
  serves: [],
  "reset at once": reset(),
  "hangs up at once": close(),
  "says hello": [raw("220 hello\r\n")],
  late: [wait(2)],
};

const often = <T>(usual: T, others: readonly T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

const request = fc.record({
  server: fc.nat(1),
  method: fc.constantFrom("GET", "POST", "PATCH", "PUT", "DELETE"),
  body: fc.constantFrom("none", "text", "large", "function", "stream"),
  stream: fc.boolean(),
  readsBody: fc.boolean(),
  startAfterTurns: fc.nat(6),
  abortAfterTurns: fc.option(fc.nat(8), { nil: undefined, freq: 4 }),
});

const server = fc.record({
  secure: fc.oneof({ weight: 3, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  responses: fc.array(fc.oneof(fc.constant("ok"), fc.constantFrom(...Object.keys(RESPONSES))), {
    minLength: 1,
    maxLength: 12,
  }),
  uploads: fc.array(often("reads on", Object.keys(UPLOADS)), { minLength: 1, maxLength: 5 }),
  connections: fc.array(often("serves", Object.keys(CONNECTIONS)), { minLength: 1, maxLength: 6 }),
});

export const scenarios = fc.record({
  servers: fc.tuple(server, server),
  requests: fc.array(request, { minLength: 1, maxLength: 30 }),
  maxConnsPerHost: fc.integer({ min: 1, max: 4 }),
  extraTotal: fc.nat(4),
  maxIdleConns: fc.nat(4),
  maxIdleConnsPerHost: fc.nat(4),
  maxRetries: fc.nat(3),
  attemptTimeoutMs: fc.option(fc.constant(10), { nil: undefined }),
});

export type Scenario = typeof scenarios extends fc.Arbitrary<infer T> ? T : never;
type Request = Scenario["requests"][number];

/** Runs one, and throws where something does not hold. */
export async function play(scenario: Scenario): Promise<void> {
  const { maxConnsPerHost, maxRetries, attemptTimeoutMs } = scenario;
  const maxIdleConnsPerHost = Math.min(scenario.maxIdleConnsPerHost, maxConnsPerHost);
  const maxTotalConns = maxConnsPerHost + scenario.extraTotal;
  const maxIdleConns = Math.min(scenario.maxIdleConns, maxTotalConns);
  await using a = await serve(scenario.servers[0]);
  await using b = await serve(scenario.servers[1]);
  const servers = [a, b];
  const before = heldNow();
  const pool = new HttpPool({
    maxConnsPerHost,
    maxTotalConns,
    maxIdleConns,
    maxIdleConnsPerHost,
    maxRetries,
    attemptTimeoutMs,
    timeoutMs: 60,
    bodyGapTimeoutMs: 30,
    bodyTimeoutMs: 60,
    retryBaseMs: 1,
    retryCapMs: 2,
    tls: { ca: servers.map(({ ca }) => ca).find((ca) => ca !== "") },
  });
  const watch = new Watch(pool, servers, { maxConnsPerHost, maxTotalConns });
  await Promise.all(
    scenario.requests.map((each, id) => send(pool, (servers[each.server] as FaultServer).url, each, id)),
  );
  await watch.end();

  for (let i = 0; i < 6; i++) await turn();
  const stats = pool.getStats();
  const count = scenario.requests.length;
  assert.deepEqual([stats.in_flight, stats.queued, stats.request_count], [0, 0, count]);
  assert.equal(stats.success_count + stats.error_count + stats.canceled_count, count);
  assert.ok(stats.idle_connections <= maxIdleConns);
  // Never resolves where more stay open.
  await Promise.all(servers.map((each) => each.connectionsDownTo(maxIdleConnsPerHost)));

  assert.equal((await pool.close({ deadlineMs: 0 })).killed, 0);
  await Promise.all(servers.map((each) => each.connectionsDownTo(0)));
  assert.equal(pool.getStats().open_connections, 0);
  for (const each of servers) checkSeenOnce(each);
  for (let i = 0; i < 3; i++) await turn();
  assert.deepEqual(heldSince(before), [], "sockets or timers were left");
}

/** Looks at the connections in each turn of the event loop, from both sides. */
class Watch {
  #running = true;
  readonly #done: Promise<void>;

  constructor(
    pool: HttpPool,
    servers: readonly FaultServer[],
    limits: { maxConnsPerHost: number; maxTotalConns: number },
  ) {
    this.#done = this.#look(pool, servers, limits);
    // Whoever ends it hears of it.
    this.#done.catch(() => {});
  }

  end(): Promise<void> {
    this.#running = false;
    return this.#done;
  }

  async #look(
    pool: HttpPool,
    servers: readonly FaultServer[],
    { maxConnsPerHost, maxTotalConns }: { maxConnsPerHost: number; maxTotalConns: number },
  ): Promise<void> {
    const above = new Map<unknown, number>();
    while (this.#running) {
      await turn();
      const { open_connections, per_origin } = pool.getStats();
      assert.ok(open_connections <= maxTotalConns, `the pool has ${open_connections} connections`);
      for (const origin of Object.values(per_origin)) assert.ok(origin.open_connections <= maxConnsPerHost);
      const total = servers.reduce((sum, { connections }) => sum + connections.open, 0);
      const seen: readonly (readonly [unknown, number, number])[] = [
        ["in all", total, maxTotalConns],
        ...servers.map((each) => [each, each.connections.open, maxConnsPerHost] as const),
      ];
      for (const [where, open, limit] of seen) {
        // A server hears of the end of a connection behind what was sent before it, which it has to read first.
        const turns = open > limit ? (above.get(where) ?? 0) + 1 : 0;
        above.set(where, turns);
        assert.ok(turns < LATE_TURNS, `${open} connections were open at the server, ${limit} are allowed`);
      }
    }
  }
}

const LATE_TURNS = 12;

function serve({ secure, responses, uploads, connections }: Scenario["servers"][number]): Promise<FaultServer> {
  const at = <T>(scripts: Readonly<Record<string, T>>, names: readonly string[], index: number): T =>
    scripts[names[index % names.length] as string] as T;
  let asked = 0;
  let uploaded = 0;
  return startFaultServer({
    protocol: secure ? "https" : "http",
    requests: () => at(RESPONSES, responses, asked++),
    heads: ({ headers }) => (headers["x-upload"] === "1" ? at(UPLOADS, uploads, uploaded++) : undefined),
    connections: (number) => at(CONNECTIONS, connections, number),
  });
}

async function send(pool: HttpPool, url: string, each: Request, id: number): Promise<void> {
  const { method, stream, readsBody, startAfterTurns, abortAfterTurns } = each;
  for (let i = 0; i < startAfterTurns; i++) await turn();
  const abort = new AbortController();
  const { signal } = abort;
  const body = method === "GET" ? undefined : bodyOf(each.body);
  const headers = body === undefined ? {} : { "x-upload": "1" };
  const ended = pool
    .do({ method, url: `${url}/${method}-${id}`, body, stream, signal, headers })
    .then(async (response) => {
      if (readsBody || !stream) await response.bytes();
      else await response.discard();
    })
    .catch((error: unknown) => error);
  if (abortAfterTurns !== undefined) {
    for (let i = 0; i < abortAfterTurns; i++) await turn();
    abort.abort(new Error("the caller left"));
  }
  await ended;
  assert.deepEqual(getEventListeners(signal, "abort"), [], "listeners were left on a signal");
}

type Body = NonNullable<Parameters<HttpPool["do"]>[0]["body"]>;

function bodyOf(kind: Request["body"]): Body | undefined {
  switch (kind) {
    case "text":
      return "some text";
    case "large":
      return Buffer.alloc(150_000, "y");
    case "function":
      return () => Readable.from([Buffer.from("made "), Buffer.from("anew")]);
    case "stream":
      return Readable.from([Buffer.from("only "), Buffer.from("once")]);
    default:
      return undefined;
  }
}

/** Whole or in part, by method and number, which are the path. */
function checkSeenOnce({ requests }: FaultServer): void {
  const seen = new Set<string>();
  for (const { method, path, state } of requests) {
    // The pool writes a head in one piece, so none is seen in part; else this check would be blind for it.
    assert.notEqual(state, "head", "a part of a head was seen");
    if (method !== "POST" && method !== "PATCH") continue;
    assert.ok(!seen.has(path), `${method} ${path} was seen twice`);
    seen.add(path);
  }
}
