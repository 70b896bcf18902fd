import * as fc from "fast-check";
import { expect, test } from "vitest";
import { completionKey } from "../../src/inference/cache-key.ts";
import { parseText } from "../../src/inference/http/request-body.ts";
import { SeenBodies } from "../../src/inference/seen-bodies.ts";
import { listen } from "../support/server.ts";

test("a body whose text has come before has the key that it would have, wherever and by whomever it is asked", () => {
  const text = fc.oneof(
    fc.constantFrom('{"seed":1}', '{"seed": 1}', '{"seed":1,"user":"a"}', '{"seed":1,"user":"b"}', '{"seed":2}'),
    fc.dictionary(fc.string(), fc.jsonValue()).map((fields) => JSON.stringify(fields)),
  );
  const scope = fc.record({
    route: fc.constantFrom("/a", "/b"),
    tenant: fc.constantFrom("", "x", "y"),
    model: fc.constantFrom("", "m"),
    namespace: fc.constantFrom("", "n"),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(text, scope), { maxLength: 40 }), (requests) => {
      const bodies = new SeenBodies(parseText);
      for (const [asked, where] of requests) {
        const seen = bodies.of(asked);
        if (seen !== undefined) expect(seen.value).toEqual(JSON.parse(asked));
        expect(completionKey(where, seen?.value ?? parseText(asked), seen)).toBe(
          completionKey(where, parseText(asked)),
        );
      }
    }),
  );
});

test("what a call does to its body reaches no other request with the same text", async () => {
  const prompts: unknown[] = [];
  const { server, url } = await listen((request, response) => void chat(request, response));
  const chat = server.inference.completions(({ body }) => {
    const messages = body["messages"] as { content: string }[];
    prompts.push(messages.map(({ content }) => content));
    messages.push({ content: "added by the service" });
    (messages[0] as { content: string }).content = "changed by the service";
    return { object: "chat.completion", choices: [{ index: 0, message: { content: "a" }, finish_reason: "stop" }] };
  });
  const body = JSON.stringify({
    temperature: 0,
    messages: [{ role: "user", content: "q" }],
    cache: { "no-store": true },
  });
  for (let i = 0; i < 5; i++) {
    const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body });
    expect(response.status).toBe(200);
    await response.text();
  }
  expect(prompts).toEqual([["q"], ["q"], ["q"], ["q"], ["q"]]);
});

test("what is no request is refused each time it comes", async () => {
  const { server, url } = await listen((request, response) => void chat(request, response));
  const chat = server.inference.completions(() => ({ choices: [] }));
  for (const body of ["{", "[]", "", "[".repeat(100), `{"a":${'{"a":'.repeat(80)}1${"}".repeat(80)}}`]) {
    for (let i = 0; i < 3; i++) expect((await fetch(url, { method: "POST", body })).status).toBe(400);
  }
});

test("the memory for bodies is bounded, and the ones that come again stay", () => {
  const bodies = new SeenBodies(parseText);
  const often = JSON.stringify({ often: "x".repeat(100) });
  expect(bodies.of(often)).toBeUndefined();
  let kept = 0;
  const texts = Array.from({ length: 2_000 }, (_, i) => JSON.stringify({ i, text: "y".repeat(1_000) }));
  for (const text of texts) {
    expect(bodies.of(text)).toBeUndefined();
    expect(bodies.of(often)?.value).toEqual(JSON.parse(often));
  }
  // Two halves of half a million characters each.
  for (const text of texts.toReversed()) if (bodies.of(text) !== undefined) kept++;
  expect(kept).toBeGreaterThan(300);
  expect(kept).toBeLessThanOrEqual(840);
  const long = JSON.stringify({ text: "z".repeat(20_000) });
  expect([bodies.of(long), bodies.of(long)]).toEqual([undefined, undefined]);
});
