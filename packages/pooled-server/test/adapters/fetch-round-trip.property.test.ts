import fc from "fast-check";
import { randomBytes } from "node:crypto";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { listen } from "../support/server.ts";

type Way = "through" | "whole" | "pieces" | "clone";

/** Gives the body back, in the way that the request asks for. */
async function echo(request: Request): Promise<Response> {
  const body = request.body as ReadableStream<Uint8Array> | null;
  switch (request.headers.get("x-way") as Way) {
    case "through":
      return new Response(body);
    case "whole":
      return new Response(await request.arrayBuffer());
    case "clone": {
      const [one, other] = await Promise.all([request.clone().arrayBuffer(), request.arrayBuffer()]);
      return one.byteLength === other.byteLength ? new Response(one) : new Response("differs", { status: 500 });
    }
    default: {
      const pieces: Uint8Array[] = [];
      for await (const piece of body ?? []) pieces.push(piece);
      return new Response(ReadableStream.from(pieces));
    }
  }
}

/** Pieces of these lengths, of bytes that do not repeat where pieces might be exchanged. */
function piecesOf(lengths: readonly number[]): Buffer[] {
  let at = 0;
  return lengths.map((length) => BYTES.subarray(at, (at += length)));
}

const BYTES = randomBytes(800_000);

test("whatever pieces a body comes in and whichever way it goes through, the same bytes come back, on one connection", async () => {
  const { url } = await listen({ fetch: echo });
  await fc.assert(
    fc.asyncProperty(
      // To make up every byte would take most of the time; which they are matters only in that each place has its own.
      fc.array(fc.nat(100_000), { maxLength: 8 }).map(piecesOf),
      fc.constantFrom<Way[]>("through", "whole", "pieces", "clone"),
      fc.boolean(),
      async (pieces, way, isSlow) => {
        const request = httpRequest(url, { method: "POST", headers: { "x-way": way } });
        const answered = once(request, "response") as Promise<[IncomingMessage]>;
        for (const piece of pieces) {
          request.write(piece);
          if (isSlow) await turn();
        }
        request.end();
        const [response] = await answered;
        const got: Buffer[] = [];
        for await (const chunk of response) got.push(chunk as Buffer);
        expect(response.statusCode).toBe(200);
        expect(Buffer.concat(got).equals(Buffer.concat(pieces))).toBe(true);
      },
    ),
    { numRuns: 150 },
  );
});
