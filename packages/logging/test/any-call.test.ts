import fc from "fast-check";
import { createLogger, type LoggerConfig } from "@vg/logging";
import { expect, test } from "vitest";
import { anything } from "./support/anything.ts";
import { duplicateKeys } from "./support/duplicate-keys.ts";
import { rawLines } from "./support/raw-lines.ts";

const thrower = (): never => {
  throw new Error("trap");
};

const name = fc.oneof(
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.constantFrom("level", "time", "caller", "message", "msg", "error", "err", "field.level", "log.left_out"),
  fc.constantFrom("__proto__", "constructor", "toJSON", "then", "length", "name", "value", "password", "[left out]"),
  fc.constantFrom("stack", "cause", "errors", "code", "type", "field.type", "0", "sk-proj-a1b2c3d4e5f6g7h8i9j0"),
);

const plain = anything(name, { maxDepth: 3 });

const trap = fc.constantFrom("get", "has", "ownKeys", "getPrototypeOf", "getOwnPropertyDescriptor");
const someError = fc.record({
  message: plain,
  name: plain,
  stack: plain,
  cause: plain,
  own: fc.dictionary(name, plain),
});

type Make = () => unknown;

/**
 * What can be given to a logger: values, and around them getters, proxies, errors, circles and toJSON. They are made by
 * each run, as fast-check itself could not hold them.
 */
const { any } = fc.letrec<{ any: Make }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    {
      weight: 4,
      arbitrary: plain.map(
        (value): Make =>
          () =>
            value,
      ),
    },
    fc.constantFrom<Make>(
      () => thrower,
      () => Symbol("s"),
      () => new WeakMap(),
      () => Promise.resolve(),
      () => /a"b/,
      () => new URL("http://u:p@h/"),
      revoked,
    ),
    fc.record({ key: name, inner: tie("any") }).map(({ key, inner }): Make => () => {
      const object = { before: inner() };
      return Object.defineProperty(object, key, { enumerable: true, configurable: true, get: thrower });
    }),
    fc.record({ key: name, inner: tie("any") }).map(({ key, inner }): Make => () => {
      const object = { inner: inner() };
      return Object.defineProperty(object, key, { enumerable: true, configurable: true, value: object });
    }),
    fc.record({ traps: fc.uniqueArray(trap), inner: tie("any") }).map(({ traps, inner }): Make => () => {
      const value = inner();
      const target = typeof value === "object" && value !== null ? value : {};
      return new Proxy(target, Object.fromEntries(traps.map((each) => [each, thrower])));
    }),
    tie("any").map((inner): Make => () => ({ toJSON: inner })),
    fc
      .record({ parts: someError, inner: tie("any"), frozen: fc.boolean() })
      .map(({ parts, inner, frozen }): Make => () => {
        const { own, ...rest } = parts;
        const error = new Error("e", { cause: inner() });
        for (const [key, value] of [...Object.entries(own), ...Object.entries(rest)])
          Object.defineProperty(error, key, { value, enumerable: Object.hasOwn(own, key), configurable: true });
        return frozen ? Object.freeze(error) : error;
      }),
    fc.array(tie("any"), { maxLength: 3 }).map(
      (errors): Make =>
        () =>
          new AggregateError(
            errors.map((make) => make()),
            "many",
          ),
    ),
    fc.array(tie("any"), { maxLength: 4 }).map(
      (items): Make =>
        () =>
          items.map((make) => make()),
    ),
    fc.array(fc.tuple(name, tie("any")), { maxLength: 4 }).map((pairs): Make => () => {
      const object = {};
      for (const [key, make] of pairs)
        Object.defineProperty(object, key, { value: make(), enumerable: true, configurable: true });
      return object;
    }),
  ),
}));

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable([], {});
  revoke();
  return proxy;
}

const limits: fc.Arbitrary<LoggerConfig> = fc.record({
  maxDepth: fc.integer({ min: 1, max: 32 }),
  maxItems: fc.integer({ min: 1, max: 50 }),
  maxStringLength: fc.integer({ min: 16, max: 3000 }),
  maxLineBytes: fc.integer({ min: 1024, max: 20_000 }),
  caller: fc.constantFrom("off" as const, "warn" as const, "all" as const),
  timeFormat: fc.constantFrom("rfc3339" as const, "unix" as const),
  redact: fc.constantFrom(false as const, {}, { text: false }, { replacement: '"\n\u2028' }, { patterns: [/a/] }),
});

type Call = (...args: unknown[]) => void;

test("any arguments in any order, with any limits, give one valid line within them, and each reserved name once", () => {
  fc.assert(
    fc.property(limits, fc.array(any, { maxLength: 4 }), any, (config, makers, carried) => {
      const args = makers.map((make) => make());
      const { logger, texts } = rawLines(config);
      const child = logger.child({ carried: carried() });
      (logger.info as Call)(...args);
      (child.error as Call)(...args);
      (child.pino.warn as Call)(...args);
      (logger.fatal as Call)("m", ...args);
      expect(texts).toHaveLength(4);
      for (const text of texts) {
        expect(text.indexOf("\n")).toBe(text.length - 1);
        expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Zl}|\p{Zp}/u);
        expect(Buffer.byteLength(text)).toBeLessThanOrEqual(config.maxLineBytes ?? 0);
        expect(duplicateKeys(text)).toEqual([]);
        const line = JSON.parse(text) as Record<string, unknown>;
        expect(
          Object.keys(line)
            .filter((key) => !/^\d+$/.test(key))
            .slice(0, 2),
        ).toEqual(["level", "time"]);
        expect(typeof line["message"]).toBe("string");
      }
    }),
    { numRuns: 400 },
  );
});

test("on the console they give one line and an indented block, and nothing that a terminal would obey", () => {
  fc.assert(
    fc.property(limits, fc.array(any, { maxLength: 4 }), (config, makers) => {
      const args = makers.map((make) => make());
      const texts: string[] = [];
      const logger = createLogger({
        ...config,
        format: "console",
        color: "never",
        destination: { write: (text) => texts.push(text) },
      });
      (logger.error as Call)(...args);
      expect(texts).toHaveLength(1);
      const text = texts[0] ?? "";
      expect(text.endsWith("\n")).toBe(true);
      const [first = "", ...block] = text.slice(0, -1).split("\n");
      expect(first).toMatch(/^[\dT:.Z-]+ ERROR /);
      for (const line of block) expect(line).toMatch(/^ {4}/);
      expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
    }),
    { numRuns: 300 },
  );
});
