import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { connect, type ConnectionOptions, type TLSSocket } from "node:tls";
import { X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import {
  close,
  closeAfterResponse,
  createTestAuthority,
  garbage,
  hold,
  raw,
  reply,
  reset,
  stall,
  startFaultServer,
  type FaultServer,
} from "../../src/testing.ts";

const open = (server: FaultServer, options: ConnectionOptions = {}): TLSSocket => {
  const socket = connect({ host: "127.0.0.1", port: server.port, servername: "localhost", ca: server.ca, ...options });
  socket.on("error", () => {});
  return socket;
};

const closed = (socket: Socket): Promise<void> => new Promise((resolve) => void socket.once("close", () => resolve()));

const REQUEST = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

test("TLS with a certificate of its authority, for the address, the name and IPv6", async () => {
  await using server = await startFaultServer({ protocol: "https", requests: closeAfterResponse() });
  expect(server.url).toMatch(/^https:/);
  const socket = open(server);
  await once(socket, "secureConnect");
  const certificate = new X509Certificate(socket.getPeerCertificate().raw);
  expect([certificate.checkIP("127.0.0.1"), certificate.checkIP("::1"), certificate.checkHost("localhost")]).toEqual([
    "127.0.0.1",
    "::1",
    "localhost",
  ]);
  expect(certificate.verify(new X509Certificate(server.ca).publicKey)).toBe(true);
  socket.write(REQUEST);
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 .*ok$/s);
  await server.connectionsDownTo(0);
  expect(server.connections).toMatchObject({ accepted: 1, secured: 1, insecure: 0 });
});

test.each([
  ["self-signed", "DEPTH_ZERO_SELF_SIGNED_CERT"],
  ["wrong-name", "ERR_TLS_CERT_ALTNAME_INVALID"],
  ["expired", "CERT_HAS_EXPIRED"],
] as const)("a certificate may be %s", async (certificate, code) => {
  await using server = await startFaultServer({ protocol: "https", certificate });
  const socket = open(server);
  expect(await once(socket, "error")).toMatchObject([{ code }]);
  await server.connectionsDownTo(0);
});

test("a client's certificate may be required", async () => {
  const authority = createTestAuthority();
  await using server = await startFaultServer({ protocol: "https", authority, requireClientCertificate: true });
  const without = open(server);
  await closed(without);
  const socket = open(server, authority.issue({ names: ["client"] }));
  socket.write(REQUEST);
  await once(socket, "data");
  expect(server.requestCount).toBe(1);
  socket.destroy();
});

test("the handshake may stall, be reset, or meet no TLS at all; and wait for the test", async () => {
  await using stalled = await startFaultServer({ protocol: "https", connections: stall() });
  const waiting = open(stalled);
  await once(waiting, "connect");
  waiting.destroy();
  await stalled.connectionsDownTo(0);

  await using server = await startFaultServer({
    protocol: "https",
    connections: (number) => [[reset()], garbage(), [hold("go")]][number] ?? [],
  });
  expect(await once(open(server), "error")).toMatchObject([{ code: "ECONNRESET" }]);
  expect(await once(open(server), "error")).toMatchObject([{ code: expect.stringMatching(/SSL/) }]);
  const socket = open(server);
  await server.reached("go");
  server.release("go");
  await once(socket, "secureConnect");
  socket.destroy();
  await server.connectionsDownTo(0);
});

test("a client that speaks no TLS, or leaves in the handshake, is counted and harms nothing", async () => {
  await using server = await startFaultServer({ protocol: "https" });
  const plain = connectTcp(server.port, "127.0.0.1");
  plain.on("error", () => {});
  plain.write(REQUEST);
  await closed(plain);
  const brief = connectTcp(server.port, "127.0.0.1");
  await once(brief, "connect");
  brief.destroy();
  await server.connectionsDownTo(0);
  await expect.poll(() => server.connections.insecure).toBe(2);
});

test("raw bytes and resets go below the encryption where they must", async () => {
  await using server = await startFaultServer({ protocol: "https", requests: [raw("plain to the client"), reset()] });
  const socket = open(server);
  socket.write(REQUEST);
  expect(String(await once(socket, "data"))).toBe("plain to the client");
  await closed(socket);
  await server.connectionsDownTo(0);
});

test.each(["https", "http"] as const)(
  "a connection (%s) that has said its end is closed by a reset, too",
  async (protocol) => {
    await using server = await startFaultServer({
      protocol,
      requests: [reply(200), hold("answered"), close(), reset()],
    });
    const socket = protocol === "https" ? open(server) : connectTcp(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(REQUEST);
    await once(socket, "data");
    server.release("answered");
    await closed(socket);
    await server.connectionsDownTo(0);
  },
);

test("a pair of one's own may be given", async () => {
  const authority = createTestAuthority();
  const certificate = authority.issue({ names: ["api.test", "2001:db8::1"] });
  await using server = await startFaultServer({ protocol: "https", certificate, requests: reply(200) });
  const socket = open(server, { ca: authority.ca, servername: "api.test" });
  await once(socket, "secureConnect");
  expect(socket.getPeerCertificate().subjectaltname).toBe("DNS:api.test, IP Address:2001:DB8:0:0:0:0:0:1");
  socket.destroy();
  expect(() => authority.issue({ names: [] })).toThrow("at least one name");
});
