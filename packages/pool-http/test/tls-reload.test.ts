/** New certificates without a restart. */
import type { PeerCertificate, TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { HttpPool, HttpPoolConfigError, type HttpPoolOptions } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { deferred, httpServer, poolClosedTo, rejection, turns } from "./support/fault-server.ts";
import { http2HoldServer } from "./support/http2-server.ts";

const [old, renewed] = await Promise.all([makeCertificates("old"), makeCertificates("renewed")]);

const peerOf = (socket: TLSSocket): string => {
  const certificate: PeerCertificate = socket.getPeerCertificate();
  return certificate.fingerprint256;
};

test("new connections present the new certificate, idle old ones go, busy old ones end after their request", async () => {
  const hold = deferred();
  await using server = await httpServer(
    (request, response) => {
      const say = (): unknown => response.end(peerOf(request.socket as TLSSocket));
      if (request.url === "/hold") void hold.promise.then(say);
      else say();
    },
    { ...old.server, requestCert: true, rejectUnauthorized: true, ca: [old.ca, renewed.ca] },
  );
  await using pool = new HttpPool({ tls: { ca: old.ca, ...old.client } });
  const [first] = await Promise.all([pool.get(server.url), pool.get(server.url)]);
  const before = await first.text();
  const held = pool.get(`${server.url}/hold`);
  await turns(2);
  pool.setTls({ ca: old.ca, ...renewed.client });
  await poolClosedTo(pool, 1);
  expect(pool.getStats()).toMatchObject({ open_connections: 1, idle_connections: 0 });
  const after = await (await pool.get(server.url)).text();
  expect(after).not.toBe(before);
  expect(pool.getStats()).toMatchObject({ open_connections: 2, idle_connections: 1 });
  hold.resolve();
  expect(await (await held).text()).toBe(before);
  await server.socketsDownTo(1);
  expect(await (await pool.get(server.url)).text()).toBe(after);
});

test("an authority that is no longer trusted is refused from then on, without a resumed session", async () => {
  await using server = await httpServer((_request, response) => response.end("ok"), old.server);
  await using pool = new HttpPool({ tls: { ca: old.ca } });
  await pool.get(server.url);
  await pool.get(server.url);
  pool.setTls({ ca: renewed.ca });
  expect(await rejection(pool.get(server.url))).toMatchObject({ code: "ERR_VG_HTTP_TLS" });
  pool.setTls({ ca: [renewed.ca, old.ca] });
  expect((await pool.get(server.url)).status).toBe(200);
});

/** Of the same form, and with another content. */
const broken = (pem: string): string => pem.replace(/\n[^-]+\n/, "\nAAAA\n");

test.each<[string, () => NonNullable<HttpPoolOptions["tls"]>, string]>([
  [
    "a key of another certificate",
    () => ({ cert: renewed.client.cert, key: old.client.key }),
    "cert and key cannot be used together",
  ],
  ["a broken key", () => ({ cert: old.client.cert, key: broken(old.client.key) }), "setTls: key cannot be used: "],
  [
    "a broken certificate",
    () => ({ cert: broken(old.client.cert), key: old.client.key }),
    "setTls: cert cannot be used: ",
  ],
  ["a broken authority", () => ({ ca: broken(old.ca) }), "setTls: ca cannot be used: "],
  [
    "one broken authority of several",
    () => ({ ca: [old.ca, renewed.ca + broken(old.ca)] }),
    "ca[1], certificate 2 of 2, cannot",
  ],
  ["half an authority", () => ({ extraCa: old.ca.slice(0, 100) }), "extraCa cannot be used: it has no end"],
  ["a key for an authority", () => ({ ca: old.client.key }), "ca cannot be used: there is no certificate in it"],
  ["half a pair", () => ({ cert: renewed.client.cert }), "cert and key belong together"],
  ["a path", () => ({ ca: "/etc/ssl/ca.pem" }), "pass its content, not its path"],
  ["an unknown option", () => ({ rejectUnauthorised: false }) as object, "unknown option"],
  ["ca and extraCa", () => ({ ca: old.ca, extraCa: old.ca }), "Give one of them"],
])("%s is refused, and the old settings stay in force", async (_what, settings, message) => {
  await using server = await httpServer((_request, response) => response.end("ok"), old.server);
  await using pool = new HttpPool({ name: "api", tls: { ca: old.ca } });
  await pool.get(server.url);
  expect(() => pool.setTls(settings())).toThrow(HttpPoolConfigError);
  expect(() => pool.setTls(settings())).toThrow(message);
  expect(() => pool.setTls(settings())).toThrow(/^api: setTls: /);
  expect((await pool.get(server.url)).status).toBe(200);
  expect(server.accepted()).toBe(1);
  pool.closeIdleConnections();
  expect((await pool.get(server.url)).status).toBe(200);
});

test("a dial under the old settings serves the one who waited for it, and nobody after", async () => {
  await using server = await httpServer((_request, response) => response.end("ok"), old.server);
  await using pool = new HttpPool({ tls: { ca: old.ca }, maxConnsPerHost: 1 });
  const [first, second] = [pool.get(server.url), pool.get(server.url)];
  pool.setTls({ ca: [old.ca, renewed.ca] });
  expect([(await first).status, (await second).status]).toEqual([200, 200]);
  expect(server.accepted()).toBe(2);
});

test("connections without TLS stay", async () => {
  await using server = await httpServer((_request, response) => response.end("ok"));
  await using pool = new HttpPool();
  await pool.get(server.url);
  pool.setTls({ ca: renewed.ca });
  await pool.get(server.url);
  expect(server.accepted()).toBe(1);
});

test("an HTTP/2 connection takes no more requests, and ends after those that it has", async () => {
  const hold = deferred();
  await using server = await http2HoldServer(hold.promise, old.server);
  await using pool = new HttpPool({ http2: "auto", tls: { ca: old.ca } });
  const held = [pool.get(`${server.url}/hold`), pool.get(`${server.url}/hold`)];
  while (server.taken.length < 2) await turns(1);
  pool.setTls({ ca: [renewed.ca, old.ca] });
  await pool.get(server.url);
  expect(server.accepted()).toBe(2);
  hold.resolve();
  await Promise.all(held);
  await server.socketsDownTo(1);
});

test("extraCa is trusted besides Node's own list", async () => {
  await using server = await httpServer((_request, response) => response.end("ok"), old.server);
  await using pool = new HttpPool({ tls: { extraCa: [old.ca] } });
  expect((await pool.get(server.url)).status).toBe(200);
  await using other = new HttpPool({ tls: { extraCa: renewed.ca }, retryBaseMs: 1 });
  expect(await rejection(other.get(server.url))).toMatchObject({ code: "ERR_VG_HTTP_TLS" });
});

test("insecureSkipVerify warns when it is set later, too", () => {
  const warned: string[] = [];
  const none = () => {};
  const logger = { debug: none, info: none, error: none, warn: (_: object, text: string) => void warned.push(text) };
  const pool = new HttpPool({ logger });
  pool.setTls({ insecureSkipVerify: true });
  expect(warned).toEqual([expect.stringContaining("any certificate is accepted")]);
  pool.destroy();
});
