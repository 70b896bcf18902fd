/** Servers that cannot be reached, or not as they should: what the caller hears, how often it was tried, what stays. */
import { once } from "node:events";
import { expect, test } from "vitest";
import { HttpConnectError, HttpPool, HttpTimeoutError, HttpTlsError, type HttpPoolOptions } from "../../src/index.ts";
import {
  close,
  closedPort,
  garbage,
  reset,
  stall,
  startFaultServer,
  step,
  type FaultServerOptions,
} from "../../src/testing.ts";
import { rejection } from "../support/fault-server.ts";
import { expectWhole } from "../support/whole.ts";

const fast = { maxRetries: 1, retryBaseMs: 1, retryCapMs: 1 };
const CODES = ["ERR_VG_HTTP_CONNECT", "ERR_VG_HTTP_TLS", "ERR_VG_HTTP_TIMEOUT"];

test.each(["GET", "POST"])("a refused %s is tried again, and the error says that nobody listens", async (method) => {
  await using pool = new HttpPool(fast);
  const error = await rejection<HttpConnectError>(pool.do({ method, url: `http://127.0.0.1:${await closedPort()}/` }));
  expect(error).toBeInstanceOf(HttpConnectError);
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_CONNECT", phase: "connect", cause: { code: "ECONNREFUSED" } });
  expect(error.attempts.map(({ error_code }) => error_code)).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
  await expectWhole(pool);
});

test("a server that comes back between two attempts is reached by the second one", async () => {
  await using server = await startFaultServer();
  await server.refuseConnections();
  let waits = 0;
  const random = (): number => {
    void server.acceptConnections();
    return waits++;
  };
  await using pool = new HttpPool({ retryBaseMs: 20, random: () => Math.min(random() + 0.5, 0.9) });
  const response = await pool.post(server.url, "x");
  expect(response.attempts.map(({ error_code, status }) => error_code ?? status)).toEqual(["ECONNREFUSED", 200]);
  expect(server.requestCount).toBe(1);
  await expectWhole(pool, server);
});

/** The client has begun the handshake. */
const hello = step("hello", async ({ socket }) => void (await once(socket, "data")));

interface Row {
  readonly name: string;
  readonly server: FaultServerOptions;
  readonly pool?: HttpPoolOptions;
  readonly type: typeof HttpTlsError | typeof HttpTimeoutError | typeof HttpConnectError;
  readonly phase: string;
  /** Of each attempt, of GET and POST alike: none of them was ever sent. */
  readonly attempts: readonly (string | RegExp)[];
  readonly message: string;
}

const ROWS: readonly Row[] = [
  {
    name: "a connection that is accepted and never served",
    server: { requests: stall() },
    pool: { timeoutMs: 40 },
    type: HttpTimeoutError,
    phase: "headers",
    attempts: ["ERR_VG_HTTP_TIMEOUT"],
    message: "timeoutMs (40 ms) passed",
  },
  {
    name: "a TLS handshake that stalls",
    server: { protocol: "https", connections: stall() },
    pool: { tlsHandshakeTimeoutMs: 20 },
    type: HttpTimeoutError,
    phase: "tls",
    attempts: ["ERR_VG_HTTP_TIMEOUT", "ERR_VG_HTTP_TIMEOUT"],
    message: "no TLS handshake within tlsHandshakeTimeoutMs (20 ms)",
  },
  {
    name: "a TLS handshake that is reset",
    server: { protocol: "https", connections: [hello, reset()] },
    type: HttpConnectError,
    phase: "tls",
    attempts: ["ECONNRESET", "ECONNRESET"],
    message: "ECONNRESET",
  },
  {
    name: "a TLS handshake in which the server hangs up",
    server: { protocol: "https", connections: [hello, close()] },
    type: HttpConnectError,
    phase: "tls",
    attempts: ["ECONNRESET", "ECONNRESET"],
    message: "ECONNRESET",
  },
  {
    name: "a port that speaks something else",
    server: { protocol: "https", connections: garbage() },
    type: HttpTlsError,
    phase: "tls",
    attempts: [/SSL|EPROTO/],
    message: "Check that the port speaks TLS",
  },
  {
    name: "a self-signed certificate",
    server: { protocol: "https", certificate: "self-signed" },
    type: HttpTlsError,
    phase: "tls",
    attempts: ["DEPTH_ZERO_SELF_SIGNED_CERT"],
    message: "Give tls.ca the certificate of its issuer",
  },
  {
    name: "a certificate for another name",
    server: { protocol: "https", certificate: "wrong-name" },
    type: HttpTlsError,
    phase: "tls",
    attempts: ["ERR_TLS_CERT_ALTNAME_INVALID"],
    message: "name it in tls.servername, or correct the server's certificate",
  },
  {
    name: "an expired certificate",
    server: { protocol: "https", certificate: "expired" },
    type: HttpTlsError,
    phase: "tls",
    attempts: ["CERT_HAS_EXPIRED"],
    message: "CERT_HAS_EXPIRED. Renew the server's certificate",
  },
];

for (const { name, server: options, pool: settings, type, phase, attempts, message } of ROWS) {
  test.each(["GET", "POST"])(`${name} fails a %s as it should, and leaves nothing`, async (method) => {
    await using server = await startFaultServer(options);
    await using pool = new HttpPool({ ...fast, ...settings, tls: { ca: server.ca === "" ? undefined : server.ca } });
    const error = await rejection<HttpConnectError>(pool.do({ method, url: server.url }));
    expect(error).toBeInstanceOf(type);
    expect(CODES).toContain(error.code);
    expect(error.phase).toBe(phase);
    expect(error.message).toContain(message);
    expect(error.attempts.length).toBe(attempts.length);
    for (const [index, expected] of attempts.entries()) {
      expect(error.attempts[index]?.error_code).toMatch(expected);
    }
    expect(server.connections.accepted).toBe(attempts.length);
    await expectWhole(pool, server);
    expect(pool.getStats()).toMatchObject({ request_count: 1, error_count: 1, success_count: 0 });
  });
}
