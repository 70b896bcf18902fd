import { expect, test } from "vitest";
import { Readable } from "node:stream";
import { HttpPool } from "../src/index.ts";
import { faultServer, rejection, reply } from "./support/fault-server.ts";

const to = (status: number, location: string) => reply(status, "moved", { location });

test.each([
  [301, "POST", "GET", ""],
  [302, "POST", "GET", ""],
  [303, "PUT", "GET", ""],
  [307, "POST", "POST", "x"],
  [308, "PUT", "PUT", "x"],
  [301, "PUT", "PUT", "x"],
])("%i turns %s into %s with the body %o", async (status, method, expected, body) => {
  await using server = await faultServer((socket, { number }) =>
    socket.write(number === 0 ? to(status, "/next?a=1") : reply(200, "there")),
  );
  await using pool = new HttpPool();
  const response = await pool.do({ method, url: `${server.url}/start`, body: "x" });
  expect([response.status, await response.text(), response.url]).toEqual([200, "there", `${server.url}/next?a=1`]);
  expect(server.requests[1]).toMatchObject({ line: `${expected} /next?a=1 HTTP/1.1`, body });
  expect(/content-type/i.test(server.requests[1]?.head ?? "")).toBe(body !== "");
  expect(response.attempts.map(({ cause, status: got }) => [cause, got])).toEqual([
    ["first", status],
    ["redirect", 200],
  ]);
  expect(pool.getStats()).toMatchObject({ request_count: 1, success_count: 1, retry_count: 0 });
  expect(server.accepted()).toBe(1);
});

test("credentials stay behind on the way to another origin, and go along within one", async () => {
  await using other = await faultServer((socket) => socket.write(reply(200)));
  await using server = await faultServer((socket, { line }) =>
    socket.write(line.includes("/out") ? to(302, other.url) : line.includes("/in") ? to(302, "/done") : reply(200)),
  );
  await using pool = new HttpPool({ headers: { "x-api-key": "k1", "x-plain": "p" } });
  const named = [
    "x-auth-key",
    "ocp-apim-subscription-key",
    "x-functions-key",
    "api_key",
    "x-auth",
    "x-amz-security-token",
  ];
  const headers = {
    authorization: "Bearer b1",
    cookie: "c1=1",
    "proxy-authorization": "p1",
    "idempotency-key": "once",
    ...Object.fromEntries(named.map((name) => [name, "k1"])),
  };
  await pool.get(`${server.url}/out`, { headers });
  expect(other.requests[0]?.head).toMatch(/x-plain: p/);
  // No credential; without it the other server would act twice on a repeated request.
  expect(other.requests[0]?.head).toMatch(/idempotency-key: once/);
  expect(other.requests[0]?.head).not.toMatch(/k1|b1|c1|p1/);
  await pool.get(`${server.url}/in`, { headers });
  expect(server.requests.at(-1)?.head).toMatch(/authorization: Bearer b1/);
});

test("everything that looks like a credential stays behind on the way to another origin, and nothing else", async () => {
  await using other = await faultServer((socket) => socket.write(reply(200)));
  await using server = await faultServer((socket) => socket.write(to(307, other.url)));
  await using pool = new HttpPool();
  const secrets =
    `x-jwt cf-access-jwt-assertion x-pwd x-userpwd x-pass x-db-password x-passphrase x-otp x-pin x-sid x-sig
    x-hmac-sha256 x-csrf x-xsrf x-bearer x-accesskey x-access-key-id x-sso x-saml-assertion x-vercel-protection-bypass
    x-ticket x-client-secret x-hub-signature`.split(/\s+/);
  const harmless =
    `accept x-request-id traceparent x-bypassed x-passenger x-compass x-design x-spin x-keyboard x-sidecar
    x-signal x-option x-user x-tenant idempotency-key`.split(/\s+/);
  const headers = Object.fromEntries([...secrets, ...harmless].map((name) => [name, "v"]));
  const values = {
    "x-up": "Bearer abc",
    "x-both": ["a", "basic YTpi"],
    "x-down": "JWT abc",
    "x-left": "AWS4-HMAC-SHA256 Credential=a/b, Signature=c",
    "x-claims": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "x-note": "bearers of news",
  };
  await pool.get(server.url, { headers: { ...headers, ...values } });
  const arrived = other.requests[0]?.head.toLowerCase() ?? "";
  const has = (name: string): boolean => arrived.includes(`\r\n${name}: `);
  expect(secrets.filter(has)).toEqual([]);
  expect(harmless.filter((name) => !has(name))).toEqual([]);
  expect(Object.keys(values).filter(has)).toEqual(["x-note"]);
});

test("redirects end after maxRedirects, and maxRedirects: 0 hands out the first", async () => {
  await using server = await faultServer((socket) => socket.write(to(302, "/again")));
  await using pool = new HttpPool({ maxRedirects: 3 });
  const error = await rejection(pool.get(server.url));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REDIRECT" });
  expect(error.message).toContain("more than 3 times");
  expect(server.requests.length).toBe(4);
  const response = await pool.get(server.url, { maxRedirects: 0 });
  expect([response.status, response.header("location"), await response.text()]).toEqual([302, "/again", "moved"]);
});

test.each(["ftp://127.0.0.1/", "javascript:alert(1)", "http://"])("a redirect to %s is refused", async (location) => {
  await using server = await faultServer((socket) => socket.write(to(302, location)));
  await using pool = new HttpPool();
  expect(await rejection(pool.get(server.url))).toMatchObject({ code: "ERR_VG_HTTP_REDIRECT" });
});

test("a redirect does not leave baseUrl", async () => {
  await using server = await faultServer((socket) => socket.write(to(302, "/admin")));
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  const error = await rejection(pool.get("/x"));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REDIRECT" });
  expect(server.requests.length).toBe(1);
});

test("a redirect that needs a used-up body again is handed out", async () => {
  await using server = await faultServer((socket) => socket.end(to(307, "/next")));
  await using pool = new HttpPool();
  const response = await pool.post(server.url, Readable.from([Buffer.from("once")]));
  expect([response.status, await response.text()]).toEqual([307, "moved"]);
});

test("a 3xx without a location is a response", async () => {
  await using server = await faultServer((socket) => socket.write(reply(304, "")));
  await using pool = new HttpPool();
  expect((await pool.get(server.url)).status).toBe(304);
});

test("response.url never shows a user or a password, and redirects within the origin keep them", async () => {
  await using server = await faultServer((socket, { line }) =>
    socket.write(line.includes("/start") ? to(302, "/v1/end") : reply(200)),
  );
  await using pool = new HttpPool({ baseUrl: `http://user:p%40ss@127.0.0.1:${server.port}/v1` });
  const response = await pool.get("/start");
  expect(response.url).toBe(`${server.url}/v1/end`);
  const basic = `authorization: Basic ${Buffer.from("user:p@ss").toString("base64")}`;
  expect(server.requests.map(({ head }) => head.includes(basic))).toEqual([true, true]);
});

test("a location in raw UTF-8 leads where it was meant to", async () => {
  await using server = await faultServer((socket, { line }) => {
    const location = Buffer.from("/안녕").toString("latin1");
    socket.write(line.includes("/from") ? reply(302, "", { location }) : reply(200, line), "latin1");
  });
  await using pool = new HttpPool();
  const response = await pool.get(`${server.url}/from`);
  expect(response.url).toBe(`${server.url}/%EC%95%88%EB%85%95`);
});
