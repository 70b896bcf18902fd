/** Connections through a proxy: tunnels, forwarded requests, credentials, and what is said when it does not work. */
import type { IncomingMessage } from "node:http";
import { afterEach, expect, test, vi } from "vitest";
import { HttpPool, HttpPoolConfigError, type HttpConnectError, type HttpPoolOptions } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { closedPort, httpServer, poolClosedTo, rejection, turns } from "./support/fault-server.ts";
import { answer, http2Server } from "./support/http2-server.ts";
import { proxyServer } from "./support/proxy.ts";

const certificates = await makeCertificates();
afterEach(() => {
  vi.unstubAllEnvs();
});

const echo = (request: IncomingMessage, response: { end(text: string): void }): void =>
  response.end(JSON.stringify({ url: request.url, headers: request.headers }));
const plain = () => httpServer(echo);
const secure = () => httpServer(echo, certificates.server);
const through = (proxy: string, options: HttpPoolOptions = {}) =>
  new HttpPool({ proxy, tls: { ca: certificates.ca }, retryBaseMs: 1, retryCapMs: 1, ...options });
interface Echo {
  readonly url: string;
  readonly headers: Record<string, string>;
}
const withCredentials = (url: string) => url.replace("://", "://us%40er:pass@");

test("https goes through a tunnel, and its connection is kept and counted for its origin", async () => {
  await using origin = await secure();
  await using proxy = await proxyServer({ credentials: "us@er:pass" });
  await using pool = through(withCredentials(proxy.url));
  for (let i = 0; i < 3; i++) {
    const seen = await (await pool.get(`${origin.url}/a?b`)).json<Echo>();
    expect([seen.url, seen.headers["host"]]).toEqual(["/a?b", `127.0.0.1:${origin.port}`]);
    expect(JSON.stringify(seen)).not.toMatch(/proxy|us@er|dXNAZXI6cGFzcw/i);
  }
  expect(proxy.asked).toEqual([`CONNECT 127.0.0.1:${origin.port}`]);
  expect(pool.getStats().per_origin[origin.url]).toMatchObject({ open_connections: 1, idle_connections: 1 });
  pool.closeIdleConnections();
  await origin.socketsDownTo(0);
  await proxy.socketsDownTo(0);
});

test("http is addressed to the proxy, over connections of its own for each origin", async () => {
  await using one = await plain();
  await using two = await plain();
  await using proxy = await proxyServer({ credentials: "us@er:pass" });
  await using pool = through(withCredentials(proxy.url), { maxConnsPerHost: 1 });
  for (const origin of [one, two, one]) {
    const seen = await (await pool.post(`${origin.url}/a?b`, "x")).json<Echo>();
    expect([seen.url, seen.headers["host"]]).toEqual(["/a?b", `127.0.0.1:${origin.port}`]);
    expect(seen.headers["proxy-authorization"]).toBeUndefined();
  }
  expect(proxy.asked).toEqual([one, two, one].map(({ url }) => `POST ${url}/a?b`));
  expect([proxy.accepted(), pool.getStats().open_connections]).toEqual([2, 2]);
});

test("a proxy may be reached over TLS, and tunnels of TLS in TLS close with their connections", async () => {
  await using origin = await secure();
  await using other = await plain();
  await using proxy = await proxyServer({ tls: certificates.server });
  await using pool = through(proxy.url);
  expect((await pool.get(origin.url)).status).toBe(200);
  expect((await pool.get(other.url)).status).toBe(200);
  expect(proxy.asked).toEqual([`CONNECT 127.0.0.1:${origin.port}`, `GET ${other.url}/`]);
  expect(pool.closeIdleConnections()).toBe(2);
  await origin.socketsDownTo(0);
  await proxy.socketsDownTo(0);
});

test("a proxy's certificate is checked as that of any server", async () => {
  await using origin = await plain();
  await using proxy = await proxyServer({ tls: certificates.server });
  await using pool = new HttpPool({ proxy: proxy.url, retryBaseMs: 1 });
  const error = await rejection<HttpConnectError>(pool.get(origin.url));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_TLS" });
  expect(error.message).toContain("the proxy's certificate");
  expect(proxy.asked).toEqual([]);
});

test("HTTP/2 goes through a tunnel, with TLS and without", async () => {
  await using origin = await http2Server((stream) => answer(stream), certificates.server);
  await using open = await http2Server((stream) => answer(stream));
  await using proxy = await proxyServer();
  await using pool = through(proxy.url, { http2: "on" });
  await Promise.all(Array.from({ length: 10 }, () => pool.get(origin.url)));
  await pool.get(open.url);
  expect(proxy.asked).toEqual([`CONNECT 127.0.0.1:${origin.port}`, `CONNECT 127.0.0.1:${open.port}`]);
});

test("a refusal names the proxy and the status, shows no credentials, and is not tried again", async () => {
  await using origin = await secure();
  await using proxy = await proxyServer({ credentials: "other:one" });
  await using pool = through(withCredentials(proxy.url));
  const error = await rejection<HttpConnectError>(pool.post(origin.url, "x"));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_CONNECT", phase: "connect" });
  expect(error.message).toContain(`the proxy ${proxy.url} opened no tunnel: it answered 407 to CONNECT`);
  expect(error.message).toContain("Give the proxy's URL a user and a password");
  expect(JSON.stringify([error.message, error, error.cause])).not.toMatch(/:pass|us@er|us%40er|dXN/);
  expect(proxy.asked.length).toBe(1);
  await using unsecured = await plain();
  expect((await pool.get(unsecured.url)).status).toBe(407);
});

test("a gateway's error may pass, so it is retried for every method", async () => {
  await using proxy = await proxyServer();
  await using pool = through(proxy.url, { maxRetries: 2 });
  const error = await rejection<HttpConnectError>(pool.post(`https://127.0.0.1:${await closedPort()}/`, "x"));
  expect(error.attempts.map(({ error_code }) => error_code)).toEqual(Array(3).fill("ERR_PROXY_502"));
  expect(proxy.asked.length).toBe(3);
});

test.each([
  ["no HTTP", "SSH-2.0-x\r\n\r\n", "is no HTTP"],
  ["no end", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(20_000)}`, "has no end"],
  ["more than an answer", "HTTP/1.1 200 OK\r\n\r\nsurprise", "before it was asked to"],
])("an answer with %s is no tunnel", async (_what, connectAnswer, detail) => {
  await using proxy = await proxyServer({ connectAnswer });
  await using pool = through(proxy.url);
  const error = await rejection(pool.get("https://api.example.test/"));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_CONNECT" });
  expect(error.message).toContain(detail);
  await proxy.socketsDownTo(0);
});

test("connectTimeoutMs covers the proxy's answer, and tlsHandshakeTimeoutMs begins behind it", async () => {
  await using silent = await proxyServer({ connectAnswer: "" });
  await using pool = through(silent.url, { connectTimeoutMs: 30, maxRetries: 0 });
  const error = await rejection(pool.get("https://api.example.test/"));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", limit: "connectTimeoutMs", phase: "connect" });
  expect(error.message).toContain(`through the proxy ${silent.url}`);
  await using dumb = await proxyServer({ connectAnswer: "HTTP/1.1 200 OK\r\n\r\n" });
  await using other = through(dumb.url, { tlsHandshakeTimeoutMs: 30, maxRetries: 0 });
  const late = await rejection(other.get("https://api.example.test/"));
  expect(late).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", limit: "tlsHandshakeTimeoutMs", phase: "tls" });
  await silent.socketsDownTo(0);
  await dumb.socketsDownTo(0);
  // The tunnel and what was within it close both, and are one place.
  for (const each of [pool, other]) {
    await poolClosedTo(each, 0);
    await turns(5);
    expect(each.getStats().open_connections).toBe(0);
  }
});

test("a proxy that is down is named", async () => {
  const port = await closedPort();
  await using pool = through(`http://user:secret@127.0.0.1:${port}`, { maxRetries: 0 });
  const error = await rejection(pool.get("https://api.example.test/"));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_CONNECT" });
  expect(error.message).toContain(`ECONNREFUSED through the proxy http://127.0.0.1:${port}`);
  expect(error.message).not.toContain("secret");
});

test("an abort and a closed pool end the wait for a tunnel", async () => {
  await using proxy = await proxyServer({ connectAnswer: "" });
  const pool = through(proxy.url);
  const abort = new AbortController();
  const given = rejection(pool.get("https://api.example.test/", { signal: abort.signal }));
  while (proxy.asked.length < 1) await turns(1);
  abort.abort(new Error("enough"));
  expect((await given).message).toBe("enough");
  pool.destroy();
  await proxy.socketsDownTo(0);
});

test("the environment decides by default, and never for the own machine", async () => {
  await using origin = await secure();
  await using unsecured = await plain();
  await using proxy = await proxyServer();
  vi.stubEnv("HTTPS_PROXY", proxy.url);
  vi.stubEnv("http_proxy", proxy.url.replace("http://", ""));
  vi.stubEnv("NO_PROXY", "direct.test");
  const lookup: NonNullable<HttpPoolOptions["lookup"]> = (_host, _options, done) =>
    done(null, [{ address: "127.0.0.1", family: 4 }]);
  await using pool = new HttpPool({ tls: { ca: certificates.ca, servername: "localhost" }, lookup });
  const named = (url: string, name: string) => url.replace("127.0.0.1", name);
  await pool.get(named(origin.url, "api.example.test"));
  await pool.get(named(unsecured.url, "api.example.test"));
  expect(proxy.asked).toEqual([
    `CONNECT api.example.test:${origin.port}`,
    `GET http://api.example.test:${unsecured.port}/`,
  ]);
  await pool.get(named(unsecured.url, "www.direct.test"));
  await pool.get(unsecured.url);
  await using never = new HttpPool({ proxy: false, lookup });
  await never.get(named(unsecured.url, "api.example.test"));
  expect(proxy.asked.length).toBe(2);
});

test.each([
  ["HTTP_PROXY", "socks5://user:hunter2@proxy.test:1080"],
  ["https_proxy", "http://"],
  ["ALL_PROXY", "ftp://proxy.test"],
])("%s=%s is refused without its value", (name, value) => {
  vi.stubEnv(name, value);
  const make = () => new HttpPool();
  expect(make).toThrow(HttpPoolConfigError);
  expect(make).toThrow(`the environment variable ${name} must be the URL of an http or https proxy`);
  expect(make).toThrow(expect.objectContaining({ message: expect.not.stringContaining("hunter2") }));
});

test.each(["socks5://user:hunter2@proxy.test", "", 5, true, {}])("proxy: %o is refused without its value", (proxy) => {
  const make = () => new HttpPool({ proxy: proxy as string });
  expect(make).toThrow(HttpPoolConfigError);
  expect(make).toThrow(expect.objectContaining({ message: expect.not.stringContaining("hunter2") }));
});
