import { DocumentBuilder, type JsonObject } from "@vg/pooled-server";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { chunksOfDocument } from "../../src/inference/document-chunks.ts";
import { EventParser } from "../../src/inference/event-parser.ts";
import { PackedFrames } from "../../src/inference/packed-frames.ts";
import { Piece } from "../../src/inference/piece.ts";
import { StoredAnswer } from "../../src/inference/stored-answer.ts";
import { chunk, collect, usage } from "../support/inference.ts";
import { upstreamPieces } from "../../src/inference/upstream-pieces.ts";

const fold = (chunks: Iterable<JsonObject>): JsonObject => {
  const builder = new DocumentBuilder();
  for (const one of chunks) builder.add(one);
  return builder.build();
};
/** As it comes out of JSON. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

const text = fc.string({ unit: "binary" });
const tokens = fc.array(
  fc.record({ token: text, logprob: fc.double({ noNaN: true, noDefaultInfinity: true }), bytes: fc.constant(null) }),
);
const toolCall = fc.record({
  id: text,
  type: fc.constant("function"),
  function: fc.record({ name: text, arguments: text }),
});
const message = fc.record(
  {
    role: fc.constant("assistant"),
    content: fc.option(text),
    refusal: fc.option(text),
    reasoning_content: text,
    reasoning: text,
    tool_calls: fc.array(toolCall, { minLength: 1 }),
    function_call: fc.record({ name: text, arguments: text }),
    audio: fc.record({ id: text, data: text, expires_at: fc.integer(), transcript: text }),
    annotations: fc.array(fc.record({ type: text, url: text })),
    unknown_field: fc.jsonValue({ maxDepth: 2 }),
  },
  { requiredKeys: ["role", "content"] },
);
const document = fc
  .record(
    {
      id: text,
      object: fc.constant("chat.completion"),
      created: fc.nat(),
      model: text,
      choices: fc.array(
        fc.record(
          {
            message,
            logprobs: fc.option(fc.record({ content: fc.option(tokens), refusal: fc.option(tokens) })),
            finish_reason: fc.constantFrom("stop", "length", "tool_calls"),
            stop_reason: fc.jsonValue({ maxDepth: 1 }),
          },
          { requiredKeys: ["message", "finish_reason"] },
        ),
        { minLength: 1, maxLength: 4 },
      ),
      usage: fc.constant(usage),
      system_fingerprint: text,
      service_tier: fc.option(text),
      unknown_top: fc.jsonValue({ maxDepth: 2 }),
    },
    { requiredKeys: ["id", "object", "created", "model", "choices"] },
  )
  .map(
    (made) => plain({ ...made, choices: made.choices.map((choice, index) => ({ index, ...choice })) }) as JsonObject,
  );

test("a document served as a stream is the same document again", () => {
  fc.assert(
    fc.property(document, (made) => {
      const chunks = chunksOfDocument(made);
      expect(plain(fold(chunks))).toEqual(made);
      for (const one of chunks) expect(one["object"]).toBe("chat.completion.chunk");
    }),
    { numRuns: 300 },
  );
});

/** Takes a message's texts apart at random places, as a model says them. */
const cut = (whole: string, places: readonly number[]): string[] => {
  const ends = [...new Set(places.map((place) => Math.floor(place * whole.length)))].toSorted((a, b) => a - b);
  const pieces = [0, ...ends].map((start, i, all) => whole.slice(start, all[i + 1]));
  return pieces.filter((piece) => piece !== "");
};

test("a stream in arbitrary pieces, with choices and tool calls mixed, is the document that the model would have given at once", () => {
  const places = fc.array(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), { maxLength: 6 });
  fc.assert(
    fc.property(document, places, fc.infiniteStream(fc.nat()), (made, at, picks) => {
      const { choices, usage: counted, ...top } = made as { choices: Record<string, unknown>[]; usage?: unknown };
      const head = { ...top, object: "chat.completion.chunk" };
      // For each choice its deltas in order; choices are then mixed.
      const queues = choices.map(({ index, message: said, logprobs, finish_reason, ...rest }) => {
        const { content, reasoning_content, tool_calls, ...other } = said as Record<string, never>;
        const deltas: object[] = [{ ...(other as object), content: content === null ? null : "" }];
        if (reasoning_content !== undefined) {
          deltas.push(
            { reasoning_content: "" },
            ...cut(reasoning_content, at).map((piece) => ({ reasoning_content: piece })),
          );
        }
        if (content !== null)
          deltas.push(...cut(content as unknown as string, at).map((piece) => ({ content: piece })));
        for (const [i, call] of ((tool_calls ?? []) as Record<string, never>[]).entries()) {
          const { name, arguments: args } = call["function"] as unknown as Record<string, string>;
          deltas.push({ tool_calls: [{ ...(call as object), index: i, function: { name, arguments: "" } }] });
          for (const piece of cut(args as string, at)) {
            deltas.push({ tool_calls: [{ index: i, function: { arguments: piece } }] });
          }
        }
        const spoken = deltas.map((delta) => ({ index, delta, finish_reason: null }));
        const odds = logprobs === undefined ? {} : { logprobs };
        return [...spoken, { index, delta: {}, ...odds, ...rest, finish_reason }];
      });
      const chunks: JsonObject[] = [];
      while (queues.some((queue) => queue.length > 0)) {
        const open = queues.filter((queue) => queue.length > 0);
        chunks.push({ ...head, choices: [open[(picks.next().value as number) % open.length]?.shift()] });
      }
      if (counted !== undefined) chunks.push({ ...head, choices: [], usage: counted });
      expect(plain(fold(chunks))).toEqual(made);
      // And what is stored of it is served the same in both forms, the stream byte for byte.
      const pieces = chunks.map((one) => new Piece("chunk", one));
      const stored = new StoredAnswer(pieces, JSON.stringify(fold(chunks)), { prompt: 0, completion: 0 }, 0);
      expect(Buffer.concat(stored.frames(true))).toEqual(Buffer.concat(pieces.map(({ frame }) => frame)));
      expect(stored.parse()).toEqual(made);
    }),
    { numRuns: 200 },
  );
});

test.each([
  [
    "text completions, with their logprobs",
    [
      {
        object: "text_completion",
        id: "t",
        choices: [{ index: 0, text: "a", logprobs: { tokens: ["a"] }, finish_reason: null }],
      },
      {
        object: "text_completion",
        id: "t",
        choices: [{ index: 0, text: "b", logprobs: { tokens: ["b"] }, finish_reason: "stop" }],
      },
    ],
    {
      object: "text_completion",
      id: "t",
      choices: [{ index: 0, text: "ab", logprobs: { tokens: ["a", "b"] }, finish_reason: "stop" }],
    },
  ],
  [
    "tool calls without an index, one whole call a chunk",
    [
      { choices: [{ delta: { tool_calls: [{ id: "a", function: { name: "f", arguments: "{}" } }] } }] },
      {
        choices: [
          {
            delta: { tool_calls: [{ id: "b", function: { name: "g", arguments: "{}" } }] },
            finish_reason: "tool_calls",
          },
        ],
      },
    ],
    {
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: null,
            tool_calls: [
              { id: "a", function: { name: "f", arguments: "{}" } },
              { id: "b", function: { name: "g", arguments: "{}" } },
            ],
          },
          finish_reason: "tool_calls",
        },
      ],
    },
  ],
  [
    "an id, a name and a role that are sent again with every piece",
    [
      {
        choices: [
          {
            delta: { role: "assistant", tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "{" } }] },
          },
        ],
      },
      {
        choices: [
          {
            delta: {
              role: "assistant",
              tool_calls: [{ index: 0, id: "a", function: { name: "f", arguments: "}" } }, null],
            },
          },
        ],
      },
      { choices: [{ delta: { tool_calls: [{ index: 0, id: "", function: { name: "", arguments: "" } }] } }] },
    ],
    {
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: null,
            tool_calls: [{ id: "a", function: { name: "f", arguments: "{}" } }],
          },
          finish_reason: null,
        },
      ],
    },
  ],
  [
    "a content that begins as parts and goes on as text",
    [
      { choices: [{ delta: { content: [{ type: "thinking", thinking: "hm" }] } }] },
      { choices: [{ delta: { content: "so" }, finish_reason: "stop" }] },
    ],
    {
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: [
              { type: "thinking", thinking: "hm" },
              { type: "text", text: "so" },
            ],
          },
          finish_reason: "stop",
        },
      ],
    },
  ],
])("%s are put together", (_name, chunks, expected) => {
  expect(plain(fold(chunks as JsonObject[]))).toEqual(expected);
});

test("a content that begins as a list and goes on as text is put together in a time that grows with its length", () => {
  const builder = new DocumentBuilder();
  builder.add(chunk({ content: [{ type: "text", text: "first" }] }));
  const list = (): unknown =>
    (builder.build() as { choices: [{ message: { content: unknown } }] }).choices[0].message.content;
  const before = list();
  for (let i = 0; i < 3; i++) builder.add(chunk({ content: `${i}` }));
  // No copy for each piece: it is the same list that has grown.
  expect(list()).toBe(before);
  expect(list()).toHaveLength(4);
});

test("names that JavaScript means something by are names", () => {
  const evil = JSON.parse(
    '{"choices":[{"index":0,"delta":{"__proto__":{"polluted":1},"constructor":"x"}}],"__proto__":{"a":1}}',
  ) as JsonObject;
  expect(JSON.stringify(fold([evil]))).toContain('"__proto__":{"polluted":1}');
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  fold([{ choices: "none" }, { choices: [null, 7, { delta: "x" }] }] as unknown as JsonObject[]);
});

test("packed events come out byte for byte, and a stream of tokens takes little", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))), (frames) => {
      const packed = new PackedFrames(frames);
      const { all, frames: out } = packed.unpack();
      expect(out.map((frame) => frame.toString("hex"))).toEqual(frames.map((frame) => frame.toString("hex")));
      expect(all.equals(Buffer.concat(frames))).toBe(true);
    }),
  );
  const long = Array.from({ length: 500 }, (_, i) =>
    Buffer.from(
      `data: {"id":"chatcmpl-${"x".repeat(29)}","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word${i}"},"logprobs":null,"finish_reason":null}]}\n\n`,
    ),
  );
  const packed = new PackedFrames(long);
  const size = packed.own.length + packed.table.byteLength;
  expect(packed.totalBytes / size).toBeGreaterThan(8);
});

test("events are the same wherever their bytes are cut, with any line ends", () => {
  const line = fc.constantFrom(
    "data: a",
    "data:b",
    "data",
    ": comment",
    "event: x",
    "id: 1",
    "retry: 5",
    "data:  €😀",
    "",
    "",
  );
  const end = fc.constantFrom("\n", "\r\n", "\r");
  fc.assert(
    fc.property(fc.array(line), end, fc.array(fc.nat({ max: 200 })), (lines, close, cuts) => {
      const bytes = Buffer.from(lines.map((words) => words + close).join(""));
      const whole = new EventParser().feed(bytes);
      const parser = new EventParser();
      const ends = [...cuts.map((place) => place % (bytes.length + 1)), 0, bytes.length].toSorted((a, b) => a - b);
      const pieces = ends.slice(1).map((to, i) => bytes.subarray(ends[i], to));
      expect(pieces.flatMap((piece) => parser.feed(piece))).toEqual(whole);
      const withFeeds = lines.map((words) => `${words}\n`).join("");
      expect(new EventParser().feed(Buffer.from(withFeeds))).toEqual(whole);
    }),
    { numRuns: 500 },
  );
});

test("an upstream's own spelling is kept: numbers, spaces, fields that nobody knows", async () => {
  const spelled =
    '{ "id":"a","n":1.0,"big":12345678901234567890,"choices":[{"index":0,"delta":{"content":"\\u00e9"},"finish_reason":"stop"}]}';
  const body = new Blob([`: hello\n\ndata: ${spelled}\n\ndata: [DONE]\n\n`]).stream();
  const response = { status: 200, headers: { "content-type": "text/event-stream" }, body };
  const pieces = await collect(upstreamPieces(response, 1e6));
  expect(pieces.map(({ frame }) => frame.toString())).toEqual([`data: ${spelled}\n\n`]);
});
