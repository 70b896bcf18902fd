/**
 * Values that have brought down, emptied, swollen or forged the lines of one logger or another. The tests log each with
 * ours; apps/bench/hostile-values logs each with its rivals too, and writes the table in README.md.
 */
import * as vm from "node:vm";

export interface HostileCase {
  readonly title: string;
  /**
   * How it is logged, in each logger's own way: under the name `value`, as the fields, as the error of the line, as the
   * message, or as the message of a line for people. Default: `value`.
   */
  readonly as?: "fields" | "error" | "message" | "console";
  readonly make: () => unknown;
  /** Whether all that matters can be read off the line: the field (or fields, or error) as it was parsed. */
  readonly whole?: (shown: unknown) => boolean;
  /** Must not be in the line. */
  readonly secret?: string;
  /** There is more than any line should hold; it must be cut. */
  readonly isHuge?: boolean;
}

const thrower = (): never => {
  throw new Error("trap");
};

/** A member of what JSON.parse gave. */
const at = (shown: unknown, ...path: string[]): unknown =>
  path.reduce<unknown>((value, name) => Object(value)[name as never] as unknown, shown);
const has = (shown: unknown, ...texts: string[]): boolean => {
  const json = JSON.stringify(shown) ?? "";
  return texts.every((text) => json.includes(text));
};

const circle = (): object => {
  const value: Record<string, unknown> = { a: 1 };
  value["me"] = value;
  return value;
};

const nested = (depth: number): object => {
  let deep: object = {};
  for (let i = 0; i < depth; i++) deep = { deep };
  return deep;
};

const SECRET = "hunter2hunter2";
const GITHUB_TOKEN = `ghp_${"a1B2c3D4".repeat(4)}e5F6`;
const WEB_TOKEN = `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.${"s1gnature".repeat(4)}`;

export const HOSTILE_CASES: readonly HostileCase[] = [
  { title: "`NaN` and `Infinity`", make: () => [NaN, Infinity], whole: (value) => has(value, "NaN", "Infinity") },
  {
    title: "a bigint beyond 2^53",
    make: () => 2n ** 64n + 1n,
    whole: (value) => value === "18446744073709551617",
  },
  { title: "a `Map`", make: () => new Map([["a", 1]]), whole: (value) => has(value, "a", "1") },
  { title: "a `Set`", make: () => new Set(["x", "y"]), whole: (value) => has(value, "x", "y") },
  { title: "an impossible `Date`", make: () => new Date(NaN), whole: (value) => value === "Invalid Date" },
  { title: "a regular expression", make: () => /a+"/g, whole: (value) => value === '/a+"/g' },
  { title: "`Headers`", make: () => new Headers({ accept: "text/html" }), whole: (value) => has(value, "text/html") },
  {
    title: "a `Request`",
    make: () => new Request("https://example.com/a"),
    whole: (value) => has(value, "https://example.com/a"),
  },
  { title: "a promise", make: () => Promise.resolve(1), whole: (value) => has(value, "Promise") },
  {
    title: "an object without prototype",
    make: () => Object.assign(Object.create(null) as object, { a: 1 }),
    whole: (value) => at(value, "a") === 1,
  },
  {
    title: "a key named `__proto__`",
    make: () => JSON.parse('{"__proto__":{"a":"kept"}}') as unknown,
    whole: (value) => has(value, "kept"),
  },
  { title: "a circle", make: circle, whole: (value) => at(value, "a") === 1 && has(value, "ircular") },
  {
    title: "a getter that throws, beside a good field",
    make: () => ({
      good: 1,
      get bad() {
        return thrower();
      },
    }),
    whole: (value) => at(value, "good") === 1 && has(value, "trap"),
  },
  {
    title: "the same among the fields themselves",
    as: "fields",
    make: () => ({
      good: 1,
      get bad() {
        return thrower();
      },
    }),
    whole: (line) => at(line, "good") === 1 && has(at(line, "bad"), "trap"),
  },
  { title: "a `toJSON` that throws", make: () => ({ toJSON: thrower }), whole: (value) => has(value, "trap") },
  {
    title: "a `toJSON` that gives itself",
    make: () => {
      const self = { a: 1, toJSON: (): unknown => self };
      return self;
    },
    whole: (value) => at(value, "a") === 1,
  },
  {
    title: "a revoked proxy",
    make: () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    },
    whole: (value) => has(value, "revoked"),
  },
  {
    title: "a proxy whose traps throw",
    make: () => new Proxy({}, { get: thrower, ownKeys: thrower, getPrototypeOf: thrower }),
    whole: (value) => has(value, "trap"),
  },
  {
    title: "the same as the fields themselves",
    as: "fields",
    make: () => new Proxy({}, { get: thrower, ownKeys: thrower, getPrototypeOf: thrower }),
    whole: (line) => has(line, "trap"),
  },

  {
    title: "an error, with its `code`",
    as: "error",
    make: () => Object.assign(new TypeError("failed"), { code: "E1", port: 5432 }),
    whole: (error) => has(error, "TypeError", "failed", "hostile-cases", "E1", "5432"),
  },
  {
    title: "an error under a name of its own",
    make: () => new TypeError("failed"),
    whole: (error) => has(error, "TypeError", "failed", "hostile-cases"),
  },
  {
    title: "a cause, with its `code`",
    as: "error",
    make: () => new Error("failed", { cause: Object.assign(new Error("refused"), { code: "E2" }) }),
    whole: (error) => has(error, "failed", "refused", "E2"),
  },
  {
    title: "a cause that is no error",
    as: "error",
    make: () => new Error("failed", { cause: { reason: "quota" } }),
    whole: (error) => has(error, "failed", "quota"),
  },
  {
    title: "causes that go round in a circle",
    as: "error",
    make: () => {
      const error = new Error("failed");
      error.cause = new Error("refused", { cause: error });
      return error;
    },
    whole: (error) => has(error, "failed", "refused"),
  },
  {
    title: "an `AggregateError`",
    as: "error",
    make: () => new AggregateError([new Error("first"), "second"], "both"),
    whole: (error) => has(error, "both", "first", "second"),
  },
  {
    title: "a `SuppressedError`",
    as: "error",
    make: suppressed,
    whole: (error) => has(error, "closing failed", "work failed"),
  },
  {
    title: "a `DOMException`",
    as: "error",
    make: () => new DOMException("gave up", "TimeoutError"),
    whole: (error) => has(error, "gave up", "TimeoutError"),
  },
  {
    title: "an error of another realm",
    as: "error",
    make: () => vm.runInNewContext("new TypeError('foreign')") as unknown,
    whole: (error) => has(error, "TypeError", "foreign"),
  },
  {
    title: "a frozen error",
    as: "error",
    make: () => Object.freeze(new Error("frozen")),
    whole: (error) => has(error, "frozen", "hostile-cases"),
  },
  {
    title: "an error whose `stack` throws",
    as: "error",
    make: () => Object.defineProperty(new Error("failed"), "stack", { get: thrower }),
    whole: (error) => has(error, "failed", "trap"),
  },

  { title: "a list of a million", make: () => Array.from({ length: 1_000_000 }, () => "x"), isHuge: true },
  { title: "a list of a million holes", make: () => Object.assign([], { length: 1_000_000 }), isHuge: true },
  { title: "a `Buffer` of a million bytes", make: () => Buffer.alloc(1_000_000, 7), isHuge: true },
  { title: "a `Float64Array` of a million", make: () => new Float64Array(1_000_000), isHuge: true },
  { title: "a text of 10 MB", make: () => "x".repeat(10_000_000), isHuge: true },
  { title: "a message of 10 MB", as: "message", make: () => "x".repeat(10_000_000), isHuge: true },
  {
    title: "50,000 fields",
    as: "fields",
    make: () => Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, i])),
    isHuge: true,
  },
  { title: "50,000 objects deep", make: () => nested(50_000), isHuge: true },

  {
    title: "half a pair of surrogates",
    make: () => "a\ud800b",
    whole: (value) => value === "a\ud800b",
  },
  {
    title: "a line separator (U+2028) in a text",
    make: () => "a\u2028b",
    whole: (value) => value === "a\u2028b",
  },
  {
    title: "fields named as the level, time and message",
    as: "fields",
    make: () => ({ level: 10, time: 1, timestamp: "1", message: "forged", msg: "forged" }),
    whole: () => true,
  },

  { title: "`{ password }`, three objects deep", make: () => ({ a: { b: { password: SECRET } } }), secret: SECRET },
  { title: "`headers.Authorization`", make: () => ({ headers: { Authorization: SECRET } }), secret: SECRET },
  { title: "a raw list of headers", make: () => ["Host", "h", "Authorization", SECRET], secret: SECRET },
  { title: "a password in a URL", make: () => `postgres://app:${SECRET}@db/app`, secret: SECRET },
  { title: "`?api_key=` in a message", as: "message", make: () => `GET /v1?api_key=${SECRET}`, secret: SECRET },
  { title: "a GitHub token in a message", as: "message", make: () => `using ${GITHUB_TOKEN}`, secret: GITHUB_TOKEN },
  {
    title: "a bearer token in an error's message",
    as: "error",
    make: () => new Error(`Bearer ${SECRET} refused`),
    secret: SECRET,
  },
  { title: "a JSON Web Token", make: () => WEB_TOKEN, secret: WEB_TOKEN },
  {
    title: "a private key",
    make: () => `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----`,
    secret: SECRET,
  },

  {
    title: "console: a line break in the message",
    as: "console",
    make: () => "a\n2026-01-01T00:00:00.000Z INFO forged",
    whole: (text) => !String(text).includes("\n2026"),
  },
  {
    title: "console: an escape sequence in the message",
    as: "console",
    make: () => "a\u001b[2Jb",
    whole: (text) => !String(text).includes("\u001b[2J"),
  },
];

/** Node 22 has no SuppressedError of its own; its shape is what matters. */
function suppressed(): Error {
  const Class = (globalThis as { SuppressedError?: new (error: unknown, before: unknown, text: string) => Error })
    .SuppressedError;
  if (Class !== undefined) return new Class(new Error("closing failed"), new Error("work failed"), "both");
  const error = new Error("both");
  error.name = "SuppressedError";
  return Object.defineProperties(error, {
    error: { value: new Error("closing failed") },
    suppressed: { value: new Error("work failed") },
  });
}
