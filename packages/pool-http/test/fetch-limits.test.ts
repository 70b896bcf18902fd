/** `maxResponseBytes` holds for whatever takes the body of fetch into memory, however it was touched before. */
import { expect, test } from "vitest";
import { HttpBodyTooLargeError, HttpPool } from "../src/index.ts";
import { oversizeBody, reply, startFaultServer } from "../src/testing.ts";
import { rejection } from "./support/fault-server.ts";

const READS = ["text", "json", "bytes", "arrayBuffer", "blob", "formData"] as const;
/** Newer than its type. */
type WithBytes = Response & { bytes(): Promise<Uint8Array> };

const TOUCHES: Record<string, (response: Response) => Response> = {
  nothing: (response) => response,
  "a look at body": (response) => (response.body === null ? response : response),
  "clone()": (response) => {
    response.clone();
    return response;
  },
  "the clone": (response) => response.clone(),
  "the clone of a clone": (response) => response.clone().clone(),
};

test.each(Object.entries(TOUCHES))("an oversize body is refused after %s", async (_name, touch) => {
  await using server = await startFaultServer({ requests: oversizeBody(3_000_000, { declared: false }) });
  await using pool = new HttpPool({ maxResponseBytes: 1_000_000 });
  for (const method of READS) {
    const abort = new AbortController();
    const response = touch(await pool.fetch(server.url, { signal: abort.signal })) as WithBytes;
    const error = await rejection(response[method]());
    expect(error).toBeInstanceOf(TypeError);
    expect(error.cause).toBeInstanceOf(HttpBodyTooLargeError);
    expect(response.bodyUsed).toBe(true);
    abort.abort();
  }
});

test.each(Object.entries(TOUCHES))("a body within the limit is read once after %s", async (_name, touch) => {
  const form = new URLSearchParams({ a: "1" }).toString();
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  await using server = await startFaultServer({
    requests: ({ path }) => (path === "/form" ? reply(200, { body: form, headers }) : reply(200, { body: '{"a":1}' })),
  });
  await using pool = new HttpPool();
  const fetched = async (path = "/") => touch(await pool.fetch(server.url + path)) as WithBytes;
  expect(await (await fetched()).text()).toBe('{"a":1}');
  expect(await (await fetched()).json()).toEqual({ a: 1 });
  expect(Buffer.from(await (await fetched()).bytes()).toString()).toBe('{"a":1}');
  expect((await (await fetched()).arrayBuffer()).byteLength).toBe(7);
  expect((await (await fetched()).blob()).size).toBe(7);
  expect((await (await fetched("/form")).formData()).get("a")).toBe("1");
  const response = await fetched();
  const [first, second] = [response.text(), rejection(response.text())];
  expect([await first, await second]).toEqual(['{"a":1}', expect.any(TypeError)]);
});

test("read piece by piece, a body has no limit", async () => {
  await using server = await startFaultServer({ requests: oversizeBody(3_000_000) });
  await using pool = new HttpPool({ maxResponseBytes: 1_000_000 });
  let size = 0;
  for await (const piece of (await pool.fetch(server.url)).body as ReadableStream<Uint8Array>) size += piece.length;
  expect(size).toBe(3_000_000);
});
