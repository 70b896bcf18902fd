import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";
import { duplicateKeys } from "./support/duplicate-keys.ts";
import { rawLines } from "./support/raw-lines.ts";

const shown = (value: unknown, config: Parameters<typeof rawLines>[0] = {}): unknown => {
  const { logger, texts } = rawLines(config);
  logger.info("m", { value });
  expect(duplicateKeys(texts[0] as string)).toEqual([]);
  const line = JSON.parse(texts[0] as string) as Record<string, unknown>;
  expect(line["level"]).toBe("info");
  return line["value"];
};
const thrower = (): never => {
  throw new Error("trap");
};

test("built-in values whose own properties say something else are shown as what they are", () => {
  const forged = '"},"level":"fatal","x":{"y":"';
  const bytes = Object.defineProperties(Buffer.from("hello"), {
    byteLength: { value: forged },
    [Symbol.toStringTag]: { value: forged },
  });
  class Sizeless extends Map<string, number> {
    override get size(): number {
      return NaN;
    }
    override entries(): never {
      return thrower();
    }
  }
  class Endless extends Set {
    override *[Symbol.iterator](): ReturnType<Set<unknown>["values"]> {
      for (;;) yield 1;
    }
  }
  expect(shown(bytes)).toBe("[Buffer: 5 bytes]");
  expect(shown(Object.defineProperty(new Date(0), "getTime", { value: thrower }))).toBe("1970-01-01T00:00:00.000Z");
  expect(
    shown(
      new Sizeless([
        ["a", 1],
        ["b", 2],
      ]),
      { maxItems: 1 },
    ),
  ).toEqual({ a: 1, "[left out]": 1 });
  expect(shown(new Endless([1, 2]))).toEqual([1, 2]);
  expect(shown(new DataView(new ArrayBuffer(2)))).toBe("[DataView: 2 bytes]");
});

test("pairs that never end are cut", () => {
  class Endless {
    readonly [Symbol.toStringTag] = "Headers";
    *[Symbol.iterator](): Generator<[string, string]> {
      for (;;) yield ["a", "b"];
    }
  }
  expect(shown(new Endless(), { maxItems: 3 })).toEqual({ a: ["b", "b", "b"], "[left out]": "the rest" });
});

test("one entry of a list that throws spoils only its own place", () => {
  const list = [1, 2, 3];
  Object.defineProperty(list, 1, { get: thrower, enumerable: true });
  expect(shown(list)).toEqual([1, "[unreadable: trap]", 3]);
});

test("a field called as the note on what was left out stays apart from it", () => {
  const value = { "[left out]": 1, a: 2, b: 3 };
  expect(shown(value, { maxItems: 1 })).toEqual({ "[left out]": 1, "[[left out]]": 2 });
});

test("what has no properties is shown by what it is", () => {
  expect(
    shown([Promise.resolve(), new WeakMap(), new Map().entries(), new Blob(["x"]), new (class A extends Object {})()]),
  ).toEqual(["[Promise]", "[WeakMap]", "[Map Iterator]", "[Blob]", {}]);
  expect(shown(new Request("https://example.com/?token=abc"))).toEqual({
    method: "GET",
    url: "https://example.com/?token=[redacted]",
  });
  const { logger, lines } = captureLogs();
  logger.info("m", Promise.resolve());
  expect(lines[0]).toMatchObject({ fields: "[Promise]" });
});

test("an error that lies, or is a proxy, keeps what can be read of it", () => {
  class Nameless extends Error {
    static override get name(): string {
      return {} as string;
    }
  }
  expect(shown(new Nameless("m"))).toMatchObject({ type: "Error", message: "m" });
  const proxy = new Proxy(new Error("seen"), { ownKeys: thrower, getOwnPropertyDescriptor: thrower });
  expect(shown(proxy)).toMatchObject({ message: "seen", "[its fields]": "[unreadable: trap]" });
  const odd = Object.assign(new Error("m"), { message: { password: "hunter2" }, stack: ["a"] });
  expect(shown(odd)).toMatchObject({ message: '{"password":"[redacted]"}', stack: '["a"]' });
});

test("a text is not cut in the middle of a character, and control characters and line separators are escaped", () => {
  expect(shown(`${"x".repeat(15)}😀y`, { maxStringLength: 16 })).toBe(`${"x".repeat(15)}…[18 characters]`);
  const { logger, texts } = rawLines();
  logger.info("a\u2028b", { "k\u2029": "\u0085\u009b\u007f" });
  expect(texts[0]).toContain(String.raw`"message":"a\u2028b","k\u2029":"\u0085\u009b\u007f"`);
});

test("an object in the place of the message has its secrets hidden", () => {
  const { logger, lines } = captureLogs();
  logger.pino.info({ a: 1 }, { otp: "123456" } as unknown as string);
  expect(lines[0]).toMatchObject({ message: '{"otp":"[redacted]"}', a: 1 });
});

test("what a censor of a child makes of a value can't swell the line", () => {
  const { logger, texts } = rawLines({ maxLineBytes: 1024 });
  const child = logger.pino.child({}, { redact: { paths: ["a"], censor: () => "x".repeat(10_000) } });
  child.info({ a: 1 }, "m");
  expect(JSON.parse(texts[0] as string)).toMatchObject({ a: "[redacted]" });
});
