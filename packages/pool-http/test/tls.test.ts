import { once } from "node:events";
import type { TLSSocket } from "node:tls";
import { expect, test } from "vitest";
import { HttpPool, type HttpTlsError } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { httpServer, rejection } from "./support/fault-server.ts";

const certificates = await makeCertificates();

const ok = (options: object = {}) =>
  httpServer(
    (request, response) => response.end((request.socket as TLSSocket).isSessionReused() ? "resumed" : "fresh"),
    {
      ...certificates.server,
      ...options,
    },
  );

test("a certificate of a given authority is accepted, connections are kept and sessions resumed", async () => {
  await using server = await ok();
  await using pool = new HttpPool({ tls: { ca: certificates.ca } });
  const response = await pool.get(server.url);
  expect(await response.text()).toBe("fresh");
  expect(response.timings.tls_ms).toBeGreaterThan(0);
  await pool.get(server.url);
  expect(server.accepted()).toBe(1);
  pool.closeIdleConnections();
  expect(await (await pool.get(server.url)).text()).toBe("resumed");
});

test("an unknown certificate is refused with what to do, and not tried again", async () => {
  await using server = await ok();
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const error = await rejection<HttpTlsError>(pool.get(server.url));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_TLS", phase: "tls" });
  expect(error.message).toContain("Give tls.ca");
  expect([error.attempts.length, server.accepted()]).toEqual([1, 1]);
});

test("a certificate for another name is refused; servername says which to expect", async () => {
  await using server = await ok();
  const url = server.url.replace("127.0.0.1", "other.test");
  const lookup: NonNullable<ConstructorParameters<typeof HttpPool>[0]>["lookup"] = (_host, _options, done) =>
    done(null, [{ address: "127.0.0.1", family: 4 }]);
  await using wrong = new HttpPool({ tls: { ca: certificates.ca }, lookup });
  expect(await rejection(wrong.get(url))).toMatchObject({ code: "ERR_VG_HTTP_TLS" });
  await using right = new HttpPool({ tls: { ca: certificates.ca, servername: "localhost" }, lookup });
  expect((await right.get(url)).status).toBe(200);
});

test("mutual TLS presents the client's certificate", async () => {
  await using server = await ok({ requestCert: true, rejectUnauthorized: true, ca: certificates.ca });
  await using pool = new HttpPool({ tls: { ca: certificates.ca, ...certificates.client } });
  expect((await pool.get(server.url)).status).toBe(200);
  await using without = new HttpPool({ tls: { ca: certificates.ca }, retryBaseMs: 1 });
  const error = await rejection<HttpTlsError>(without.get(server.url));
  expect(error.message).toContain("check tls.cert and tls.key");
});

test("plain HTTP where TLS was expected is a TLS error", async () => {
  await using server = await httpServer((_request, response) => response.end("ok"));
  await using pool = new HttpPool({ retryBaseMs: 1 });
  expect(await rejection(pool.get(server.url.replace("http:", "https:")))).toMatchObject({ code: "ERR_VG_HTTP_TLS" });
});

test("insecureSkipVerify accepts any certificate and says so, to the logger or to the process", async () => {
  await using server = await ok();
  const warned: string[] = [];
  const none = () => {};
  const logger = {
    debug: none,
    info: none,
    error: none,
    warn: (_fields: object, text: string) => void warned.push(text),
  };
  await using logged = new HttpPool({ name: "lab", tls: { insecureSkipVerify: true }, logger });
  expect((await logged.get(server.url)).status).toBe(200);
  expect(warned).toEqual([expect.stringContaining("HttpPool lab: tls.insecureSkipVerify is set")]);

  const warning = once(process, "warning");
  await using silent = new HttpPool({ tls: { insecureSkipVerify: true } });
  expect((await silent.get(server.url)).status).toBe(200);
  const [emitted] = (await warning) as [Error & { code: string }];
  expect(emitted.code).toBe("VG_HTTP_INSECURE_TLS");
});
