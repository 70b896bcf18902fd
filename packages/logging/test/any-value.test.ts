import { createServer } from "node:http";
import * as vm from "node:vm";
import fc from "fast-check";
import { createLogger } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";
import { anything } from "./support/anything.ts";
import { duplicateKeys } from "./support/duplicate-keys.ts";
import { rawLines } from "./support/raw-lines.ts";

const thrower = (): never => {
  throw new Error("trap");
};

/** Values that have brought down, emptied or forged the lines of one logger or another. */
const hostile: Record<string, () => unknown> = {
  "a getter that throws": () => ({
    ok: 1,
    get bad() {
      return thrower();
    },
  }),
  "a getter that throws something that throws": () => ({
    get bad(): never {
      throw { toString: thrower };
    },
  }),
  "a toJSON that throws": () => ({ toJSON: thrower }),
  "a toJSON that gives itself": () => {
    const self = { a: 1, toJSON: () => self };
    return self;
  },
  "a toJSON that gives new ones for ever": () => {
    const make = (): object => ({ toJSON: make, next: { toJSON: make } });
    return make();
  },
  "a circle": () => {
    const circle: Record<string, unknown> = {};
    circle["me"] = circle;
    return circle;
  },
  "a circle of causes": () => {
    const error = new Error("a");
    error.cause = new Error("b", { cause: error });
    return error;
  },
  "a proxy that objects to everything": () =>
    new Proxy(
      {},
      { get: thrower, has: thrower, ownKeys: thrower, getPrototypeOf: thrower, getOwnPropertyDescriptor: thrower },
    ),
  "a proxy that was revoked": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  "a frozen error": () => Object.freeze(new Error("frozen")),
  "an error whose properties throw": () =>
    Object.defineProperties(new Error("x"), {
      message: { get: thrower },
      stack: { get: thrower },
      name: { get: thrower },
      code: { get: thrower, enumerable: true },
    }),
  "an error of another realm": () => vm.runInNewContext("new TypeError('foreign')") as unknown,
  "an error with fields of a line": () =>
    Object.assign(new Error("x"), { type: "fake", level: 1, message: 5, stack: null }),
  "an AggregateError": () => new AggregateError([new Error("a"), "b", null], "many"),
  "numbers that JSON lacks": () => [NaN, Infinity, -Infinity, -0],
  bigints: () => [1n, 2n ** 64n, -(2n ** 64n), 2n ** 4000n],
  "a map and a set": () => new Map<unknown, unknown>([[{ k: 1 }, new Set([new Map([["a", 1]])])]]),
  bytes: () => [Buffer.from("secret"), new Uint8Array(9), new DataView(new ArrayBuffer(2)), new SharedArrayBuffer(3)],
  dates: () => [new Date(0), new Date(NaN)],
  "what JSON skips": () => ({ u: undefined, f: () => 1, s: Symbol("s"), list: [undefined, () => 1, Symbol("s")] }),
  "boxed values": () => [Object(1), Object("s"), Object(true), Object(1n), Object(Symbol("s"))] as unknown[],
  "an object without a prototype": () => Object.assign(Object.create(null) as object, { a: 1 }),
  "a key named __proto__": () => JSON.parse('{"__proto__":{"level":"fake"},"constructor":1,"toString":2}') as unknown,
  "forged text": () => 'x"}\n{"level":"fatal","message":"forged',
  "a very long text": () => "\u0000".repeat(1_000_000),
  "a very long name": () => ({ ["k".repeat(1_000_000)]: 1 }),
  "very many fields": () => Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, i])),
  "a very long list": () => Array.from({ length: 1_000_000 }, () => "x"),
  "a list of a million holes": () => Object.assign([], { length: 1_000_000 }),
  "very deep": () => {
    let deep: object = {};
    for (let i = 0; i < 50_000; i++) deep = { deep };
    return deep;
  },
  "a tree that grows at every level": () => {
    let tree: object = {};
    for (let i = 0; i < 30; i++) tree = { l: tree, r: tree, m: [tree, tree] };
    return tree;
  },
  "a server": () => createServer(),
  "the whole process": () => process,
  globalThis: () => globalThis,
  "a promise and a weak map": () => [Promise.resolve(1), new WeakMap(), new WeakRef({})],
  "a regular expression and a URL": () => [/a"b/g, new URL("https://u:p@example.com/?token=abc")],
  "a list with a length that lies": () =>
    Object.create(Array.prototype, { length: { value: 4e9, enumerable: true } }) as unknown,
  "a function": () => thrower,
  "a symbol": () => Symbol("s"),
  null: () => null,
};

describe.each(Object.entries(hostile))("%s", (_, make) => {
  const places: Record<string, (logger: ReturnType<typeof rawLines>["logger"], value: unknown) => void> = {
    "as the fields": (logger, value) => logger.info("m", value as object),
    "as a field": (logger, value) => logger.info("m", { value, after: 1 }),
    "as the error": (logger, value) => logger.error("m", value, { after: 1 }),
    "as the only argument": (logger, value) => logger.warn(value as object),
    "as a message": (logger, value) => logger.info({ a: 1 }, value as string),
    "as a carried field": (logger, value) => logger.child({ value }).info("m"),
    "as the fields of a special method": (logger, value) => logger.logHttpRequest("GET", "/", 200, 1, value as object),
    "through pino, as the object": (logger, value) => logger.pino.info(value as object, "m"),
    "through pino, as a field": (logger, value) => logger.pino.error({ err: value, value }, "m"),
    "through pino, as a carried field": (logger, value) => logger.pino.child({ value, err: value }).info("m"),
  };

  test.each(Object.entries(places))("%s gives one valid line", (_place, log) => {
    const { logger, texts } = rawLines();
    log(logger, make());
    expect(texts).toHaveLength(1);
    const text = texts[0] as string;
    expect(text.indexOf("\n")).toBe(text.length - 1);
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(65_536);
    expect(duplicateKeys(text)).toEqual([]);
    const line = JSON.parse(text) as Record<string, unknown>;
    expect(["info", "warn", "error"]).toContain(line["level"]);
    expect(typeof line["message"]).toBe("string");
    expect(text).not.toContain('"level":"fake"}\n');
  });

  test("on the console is one line, and an indented block", () => {
    const texts: string[] = [];
    const logger = createLogger({
      format: "console",
      color: "never",
      destination: { write: (text) => texts.push(text) },
    });
    logger.error("m", make() as object);
    logger.info("m", { value: make() });
    expect(texts).toHaveLength(2);
    for (const text of texts) {
      const [, ...block] = text.slice(0, -1).split("\n");
      for (const line of block) expect(line).toMatch(/^ {4}/);
      // eslint-disable-next-line no-control-regex -- that there are none is what is asked
      expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202e]/);
    }
  });
});

test("what is shown of the unusual values", () => {
  const { logger, lines } = captureLogs();
  logger.info("m", {
    nan: NaN,
    small: 5n,
    big: 2n ** 60n,
    map: new Map([["a", 1]]),
    pairs: new Map([[1, "one"]]),
    set: new Set(["x"]),
    bytes: Buffer.from("hello"),
    floats: new Float32Array(2),
    when: new Date(0),
    never: new Date(NaN),
    url: new URL("https://example.com/a"),
    pattern: /a+/g,
    nothing: undefined,
    list: [undefined, null],
    bad: {
      get x(): string {
        throw new Error("no");
      },
      y: 1,
    },
  });
  const { level: _level, time: _time, message: _message, ...fields } = lines[0] as (typeof lines)[0];
  expect(fields).toEqual({
    nan: "NaN",
    small: 5,
    big: "1152921504606846976",
    map: { a: 1 },
    pairs: [[1, "one"]],
    set: ["x"],
    bytes: "[Buffer: 5 bytes]",
    floats: "[Float32Array: 8 bytes]",
    when: "1970-01-01T00:00:00.000Z",
    never: "Invalid Date",
    url: "https://example.com/a",
    pattern: "/a+/g",
    list: [null, null],
    bad: { x: "[unreadable: no]", y: 1 },
  });
});

test("a value that objects to becoming text does not stop a message with %s", () => {
  const { logger, lines } = captureLogs();
  const value = { toString: thrower, toJSON: thrower, [Symbol.toPrimitive]: thrower };
  logger.pino.info({ a: 1 }, "user %s", value);
  logger.info({ a: 1 }, "user %s", value);
  expect(lines.map((line) => line["a"])).toEqual([1, 1]);
});

test("an object with toJSON shows as the fields what that says, and nothing that it keeps to itself", () => {
  class User {
    id = 7;
    hash = "kept";
    toJSON(): object {
      return { id: this.id, token: "t" };
    }
  }
  const { logger, lines } = captureLogs();
  logger.info("m", new User());
  logger.info(new User(), "m");
  logger.withFields(new User()).info("m");
  logger.logDbOp("insert", "users", 1, 2, new User());
  logger.info("m", { hash: "kept", toJSON: () => ({ id: 7, token: "t" }) });
  for (const line of lines) expect(line).toMatchObject({ id: 7, token: "[redacted]" });
  for (const line of lines) expect(line).not.toHaveProperty("hash");
  logger.info("text", { toJSON: () => "all of it" });
  logger.info("bad", { a: 1, toJSON: thrower });
  const prototype = Object.defineProperty({}, "toJSON", { get: thrower });
  logger.info("worse", Object.assign(Object.create(prototype) as object, { a: 1 }));
  expect(lines.slice(-3)).toMatchObject([{ fields: "all of it" }, { fields: "[unreadable: trap]" }, { a: 1 }]);
});

test("a value that logs while it is logged does not go round in circles", () => {
  const { logger, lines } = captureLogs();
  const value = {
    toJSON(): object {
      logger.info("inner", { value });
      return { a: 1 };
    },
  };
  logger.info("outer", { value });
  expect(lines.length).toBeLessThan(10);
  expect(lines.at(-1)).toMatchObject({ message: "outer", value: { a: 1 } });
});

test("a small plain value comes out as JSON.stringify has it", () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string({ maxLength: 20 }).map((name) => `_${name}`),
        fc.jsonValue({ maxDepth: 4, depthSize: "small", stringUnit: "binary" }),
        { maxKeys: 8 },
      ),
      (fields) => {
        const { logger, lines } = captureLogs({ redact: false, maxLineBytes: 10_000_000 });
        logger.info("m", fields);
        const { level: _level, time: _time, message: _message, ...shown } = lines[0] as (typeof lines)[0];
        expect(shown).toEqual(JSON.parse(JSON.stringify(fields)));
      },
    ),
  );
});

test("any fields, carried fields, message and error give exactly one valid line without repeated names", () => {
  const name = fc.oneof(
    fc.string({ unit: "binary", maxLength: 10 }),
    fc.constantFrom("level", "time", "caller", "message", "error", "err", "msg", "a", "field.level", "log.left_out"),
    fc.constantFrom("field.field.level", "field.error", "://a:b@c", "://a:c@c", "://a:[redacted]@c", "password"),
  );
  const any = anything(name);
  const fields = fc.dictionary(name, any, { maxKeys: 6 });

  fc.assert(
    fc.property(
      fc.string({ unit: "binary" }),
      fields,
      fields,
      any,
      fc.constantFrom(1024, 2000, 65_536),
      (message, carried, own, error, maxLineBytes) => {
        const { logger, texts } = rawLines({ maxLineBytes });
        const child = logger.child(carried);
        child.info(message, own);
        child.error(message, error, own);
        child.pino.warn({ ...own, err: error }, message);
        child.logInference(message, message, 1, 2, true, own);
        expect(texts).toHaveLength(4);
        for (const text of texts) {
          expect(text.indexOf("\n")).toBe(text.length - 1);
          expect(Buffer.byteLength(text)).toBeLessThanOrEqual(maxLineBytes);
          expect(duplicateKeys(text)).toEqual([]);
          const line = JSON.parse(text) as Record<string, unknown>;
          expect(Object.keys(line).slice(0, 2)).toEqual(["level", "time"]);
          expect(typeof line["message"]).toBe("string");
        }
        expect(texts.map((text) => (JSON.parse(text) as { level: string }).level)).toEqual([
          "info",
          "error",
          "warn",
          "info",
        ]);
      },
    ),
    { numRuns: 300 },
  );
});
