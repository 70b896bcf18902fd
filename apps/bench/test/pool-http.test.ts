import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { BLOB_BYTES, BLOBS, blobOf, isBlob, isPartOfBlob } from "../comparisons/blobs.ts";
import { documentOf } from "../comparisons/documents.ts";
import { comparison } from "../comparisons/pool-http.ts";
import { Responder } from "../comparisons/responder.ts";
import type { Case } from "../harness/comparison.ts";

const responder = new Responder();
const server = createServer(responder.accept);
const sockets: Socket[] = [];

before(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
after(() => {
  for (const socket of sockets) socket.destroy();
  server.close();
});

async function open(): Promise<Socket> {
  const socket = connect((server.address() as { port: number }).port, "127.0.0.1");
  sockets.push(socket);
  await once(socket, "connect");
  return socket;
}

/** Reads until so many bytes of bodies have come, each after a head. */
async function bodies(socket: Socket, lengths: readonly number[]): Promise<Buffer[]> {
  let bytes = Buffer.alloc(0);
  const found: Buffer[] = [];
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes = Buffer.concat([bytes, chunk]);
    for (;;) {
      const length = lengths[found.length];
      const end = bytes.indexOf("\r\n\r\n");
      if (length === undefined) return found;
      if (end === -1 || bytes.length < end + 4 + length) break;
      assert.match(
        bytes.subarray(0, end).toString(),
        new RegExp(`^HTTP/1\\.1 \\d{3} .*Content-Length: ${length}$`, "s"),
      );
      found.push(bytes.subarray(end + 4, end + 4 + length));
      bytes = bytes.subarray(end + 4 + length);
    }
  }
  return found;
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

void test("the responder gives each path its body, and counts requests and the sockets that they came over", async () => {
  responder.take();
  const [one, two] = [await open(), await open()];
  for (const id of [0, 7]) {
    one.write(get(`/documents/${id}`));
    const [body] = await bodies(one, [1024]);
    assert.equal(body?.toString(), documentOf(id));
  }
  two.write(get("/blobs/3"));
  const [blob] = await bodies(two, [BLOB_BYTES]);
  assert.ok(blobOf(3).equals(blob!));
  two.write(get("/nothing"));
  assert.deepEqual(await bodies(two, [0]), [Buffer.alloc(0)]);
  assert.deepEqual(responder.take(), { served: 4, connections: 2, pipelined: 0 });
  assert.deepEqual(responder.take(), { served: 0, connections: 0, pipelined: 0 });
});

void test("a request in pieces is one request, and one that did not wait for its turn is counted", async () => {
  responder.take();
  const socket = await open();
  socket.setNoDelay(true);
  const text = get("/documents/1");
  socket.write(text.slice(0, 20));
  await new Promise((resolve) => setImmediate(resolve));
  socket.write(text.slice(20));
  assert.equal((await bodies(socket, [1024]))[0]?.toString(), documentOf(1));
  assert.deepEqual(responder.take(), { served: 1, connections: 1, pipelined: 0 });
  socket.write(get("/documents/2") + get("/documents/3"));
  const both = await bodies(socket, [1024, 1024]);
  assert.deepEqual(both.map(String), [documentOf(2), documentOf(3)]);
  assert.deepEqual(responder.take(), { served: 2, connections: 1, pipelined: 1 });
});

void test("a blob is known by every byte and by its place, whole and in pieces", () => {
  const bytes = new Uint8Array(blobOf(5));
  assert.ok(isBlob(bytes, 5) && isBlob(bytes, 5 + BLOBS));
  assert.ok(!isBlob(bytes, 6) && !isBlob(bytes.subarray(1), 5) && !isBlob(new Uint8Array(0), 5));
  assert.ok(isPartOfBlob(bytes.subarray(100, 300), 5, 100));
  assert.ok(!isPartOfBlob(bytes.subarray(100, 300), 5, 101));
  assert.ok(!isPartOfBlob(bytes.subarray(100, 300), 5, BLOB_BYTES - 100));
  bytes[BLOB_BYTES - 1]! ^= 1;
  assert.ok(!isBlob(bytes, 5));
});

const named = (name: string): Case => comparison.cases.find((one) => one.name === name)!;
const rivalsOf = (one: Case): string[] => one.contenders.slice(1).map(({ name, bar }) => `${name} ${bar ?? "-"}`);

void test("every cell is beside undici, and those of 50 callers beside the others, each with its bar", () => {
  assert.equal(new Set(comparison.cases.map(({ name }) => name)).size, comparison.cases.length);
  for (const how of ["buffered", "streamed"]) {
    for (const body of ["json", "blob"]) {
      for (const wire of ["plain", "tls"]) {
        for (const callers of [1, 50]) {
          const one = named(`${how}-${body}-${callers}-${wire}-${how}`);
          assert.deepEqual(rivalsOf(one), ["undici request 1", "undici fetch -"]);
          assert.deepEqual(one.parameters, {
            body,
            streamed: how === "streamed",
            tls: wire === "tls",
            callers,
            connections: callers,
          });
        }
        const others = rivalsOf(named(`others-${body}-50-${wire}-${how}`));
        assert.deepEqual(
          others,
          body === "json" ? ["got 4", "axios 4", "ky 3.5", "node:http -"] : ["got 2", "axios 2", "ky 2", "node:http -"],
        );
        assert.deepEqual(rivalsOf(named(`fetch-${body}-50-${wire}-${how}`)), ["undici fetch 1"]);
      }
    }
  }
  assert.equal(named("few-json-50-plain-buffered").parameters["connections"], 10);
  assert.ok(comparison.cases.filter(({ setting }) => setting?.includes("10 connections")).length === 4);
});

void test("a quick run has every client, both bodies, both ways of reading, plain and TLS", () => {
  const quick = comparison.cases.filter(({ fullOnly }) => fullOnly !== true);
  const all = comparison.cases;
  const clients = (cases: readonly Case[]) => new Set(cases.flatMap((one) => one.contenders.map(({ name }) => name)));
  assert.deepEqual(clients(quick), clients(all));
  for (const name of ["body", "streamed", "tls"]) {
    assert.equal(new Set(quick.map(({ parameters }) => parameters[name])).size, 2, name);
  }
});

void test("a request that was served twice, pipelined, or sent over one connection too many disqualifies", () => {
  const one = named("few-json-50-plain-buffered");
  const right = { right: 200, wrong: 0, served: 250, connections: 10, pipelined: 0 };
  const check = (change: object) => one.check({ ...right, ...change }, 200, one.contenders[0]!);
  assert.equal(check({}), undefined);
  assert.equal(check({ connections: 9 }), undefined);
  for (const change of [
    { right: 199, wrong: 1 },
    { served: 251 },
    { served: 249 },
    { pipelined: 1 },
    { connections: 11 },
  ]) {
    assert.match(check(change) ?? "", /expected .* over at most 10 connections/, JSON.stringify(change));
  }
});
