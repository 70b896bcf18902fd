/**
 * node apps/bench/memory/estimate-error.ts [words of a shape's name]
 *
 * Measures what values take on V8's heap, beside what `estimateSize` of @vg/cache says of them.
 *
 * Each shape has a process of its own, which makes so many different values that they take some megabytes, in an array
 * that is there before. What `heapUsed + external` grew by, a value, is the measurement; `external` has the memory of
 * Buffers in it. The slot of the array does not count, so that a small integer takes nothing. Without the names of
 * shapes all are measured, in about half a minute.
 */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
// By its path: no rival has to be installed to measure the memory of our own.
import { estimateSize } from "../../../packages/cache/src/estimate-size.ts";
import { markdownTable } from "../harness/format.ts";
import { field, numberField } from "../harness/values.ts";

/** What the values of a shape take together, about. */
const BYTES = 6 * 1024 * 1024;
const MIN_VALUES = 40;
const MAX_VALUES = 100_000;

/** Makes the value of a number; different numbers give different values of about the same size. */
type Make = (i: number) => unknown;

/** A linear congruential generator: the same values in each run. */
let state = 1;
function random(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state / 2 ** 32;
}

const int = (below: number): number => Math.floor(random() * below);
const list = <T>(length: number, item: (i: number) => T): T[] => Array.from({ length }, (_, i) => item(i));
const scratch = Buffer.alloc(200_000);
/** One flat string, as from a socket. */
function characters(length: number, alphabet: string): string {
  for (let i = 0; i < length; i++) scratch[i] = alphabet.codePointAt(int(alphabet.length)) ?? 0;
  return scratch.toString("latin1", 0, length);
}
const pick = (words: readonly string[]): string => words[int(words.length)] ?? "";
const money = (): number => int(100_000) / 100 + 0.001;
const letters = (length: number): string => characters(length, "abcdefghijklmnopqrstuvwxyz");
const digits = (length: number): string => characters(length, "123456789");
const hex = (length: number): string => characters(length, "0123456789abcdef");
const uuid = (): string => [8, 4, 4, 4, 12].map(hex).join("-");
const isoDate = (): string => new Date(1.6e12 + int(1e9) * 100).toISOString();
const WORDS = list(500, () => letters(2 + int(9)));
function prose(length: number): string {
  let end = 0;
  while (end < length) end += scratch.write(`${pick(WORDS)} `, end, "latin1");
  return scratch.toString("latin1", 0, length);
}

/** As it comes from the network: made by JSON.parse, nothing of it is shared with what made it. */
const parsed = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const parsedText = (value: string): string => String(parsed(value));
const record = (names: readonly string[], value: (i: number) => unknown): Record<string, unknown> =>
  Object.fromEntries(names.map((name, i) => [name, value(i)]));
const names = (count: number): string[] => list(count, (i) => `field_${i}`);
const mixed = (i: number): unknown => [int(1e6), random(), letters(16), i % 2 === 0, null][i % 5];

const chat = (): unknown => ({
  id: `chatcmpl-${hex(29)}`,
  object: "chat.completion",
  created: 1_700_000_000 + int(1e6),
  model: "gpt-4o-2024-08-06",
  messages: list(60, (i) => ({ role: i % 2 === 0 ? "user" : "assistant", content: prose(80 + int(500)) })),
  usage: { prompt_tokens: int(9000), completion_tokens: int(900), total_tokens: int(9900) },
});

const apiRecord = (): unknown => ({
  id: uuid(),
  email: `${letters(9)}@example.com`,
  name: `${letters(7)} ${letters(9)}`,
  status: pick(["active", "invited", "suspended"]),
  plan: pick(["free", "team", "enterprise"]),
  age: int(90),
  balance: money(),
  verified: random() < 0.5,
  created_at: isoDate(),
  updated_at: isoDate(),
  deleted_at: null,
  address: { street: `${prose(16)} ${int(99)}`, city: letters(9), zip: digits(5), country: pick(["DE", "FR", "US"]) },
  tags: list(4, () => pick(WORDS)),
  settings: { theme: "dark", locale: "en-GB", notifications: { email: true, push: false, digest: "weekly" } },
});

const searchPage = (): unknown => ({
  took: int(100),
  total: int(100_000),
  hits: list(20, () => ({
    id: uuid(),
    score: random() * 10,
    url: `https://example.com/${letters(12)}/${letters(20)}`,
    title: prose(60),
    snippet: prose(200),
    highlights: list(3, () => prose(30)),
    published: isoDate(),
  })),
});

const invoice = (): unknown => ({
  number: `R-${digits(8)}`,
  currency: "EUR",
  lines: list(25, () => ({
    sku: `${letters(3)}-${digits(4)}`,
    text: prose(25),
    quantity: 1 + int(9),
    price: money(),
    vat: 0.19,
  })),
  total: money(),
});

const polygon = (): unknown => ({
  type: "Feature",
  properties: { name: prose(20), population: int(1e6) },
  geometry: { type: "Polygon", coordinates: [list(200, () => [random() * 180, random() * 90])] },
});

const manifest = (): unknown => ({
  name: letters(12),
  version: `${int(9)}.${int(30)}.${int(9)}`,
  description: prose(70),
  keywords: list(6, () => letters(7)),
  scripts: { build: prose(30), test: prose(30), lint: prose(20) },
  dependencies: record(
    list(20, () => letters(10)),
    () => `^${int(9)}.${int(30)}.${int(9)}`,
  ),
});

const tokens = (): unknown => ({
  text: prose(400),
  logprobs: list(80, () => ({ token: pick(WORDS), logprob: -random(), bytes: list(5, () => 97 + int(26)) })),
});

/** As drivers make them: each string by itself, however short it is. */
const rows = (): unknown =>
  list(50, (i) => ({
    id: i,
    title: letters(30),
    status: characters(6, "s"),
    price: digits(5),
    created: new Date(1.7e12 + int(1e9)),
    body: prose(150),
  }));

class Point {
  readonly x: number;
  readonly y: number;
  readonly label: string;
  constructor(x: number, y: number) {
    this.x = x;
    this.y = y;
    this.label = letters(12);
  }
}

class Session {
  readonly id: string = uuid();
  readonly user: string = letters(12);
  readonly roles: readonly string[] = ["reader", "writer"];
  readonly since: Date = new Date(1.7e12 + int(1e9));
  readonly point: Point = new Point(int(100), random());
}

function assigned(from: Record<string, unknown>): Record<string, unknown> {
  const to: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(from)) to[name] = value;
  return to;
}

function withDeleted(): unknown {
  const value = assigned(record(names(12), (i) => i));
  delete value["field_3"];
  return value;
}

function pushed(length: number): unknown {
  const items: number[] = [];
  for (let i = 0; i < length; i++) items.push(i);
  return items;
}

function sparse(): unknown {
  const items: number[] = [];
  for (let i = 0; i < 100; i++) items[int(1_000_000)] = i;
  return items;
}

function withRoom(length: number): unknown {
  const items: unknown[] = [];
  items.length = length;
  items[0] = 1;
  items[1] = 2;
  return items;
}

function flattened(): string {
  const text = prose(1000) + prose(1000);
  text.codePointAt(5); // reading a character makes one string of the two
  return text;
}

function mapOf(count: number, key: () => unknown, value: () => unknown): unknown {
  const map = new Map<unknown, unknown>();
  // One by one: of a list of pairs of numbers, each number would be an object of its own.
  for (let i = 0; i < count; i++) map.set(key(), value());
  return map;
}

/** What caches hold. */
const REALISTIC: Readonly<Record<string, Make>> = {
  "string, 8 characters": () => parsedText(hex(8)),
  "string, uuid": () => parsedText(uuid()),
  "string, 2,000 characters": () => parsedText(prose(2000)),
  "string, 100,000 characters": () => parsedText(prose(100_000)),
  "string, 2,000 two-byte characters": () => parsedText(`${prose(1999)}\u2713`),
  "string of two, 2,000 characters": () => flattened(),
  double: () => random(),
  "time in ms": (i) => 1.7e12 + i,
  "bigint of 64 bits": (i) => 2n ** 62n + BigInt(i),
  Date: (i) => new Date(1.7e12 + i),
  "JSON: 2 ints": () => parsed({ a: int(100), b: int(100) }),
  "JSON: 2 doubles": () => parsed({ x: random(), y: random() }),
  "JSON: 10 ints": () => parsed(record(names(10), () => int(1e6))),
  "JSON: 10 doubles": () => parsed(record(names(10), random)),
  "JSON: 10 strings of 16": () => parsed(record(names(10), () => letters(16))),
  "JSON: 10 of all": () => parsed(record(names(10), mixed)),
  "JSON: 50 of all": () => parsed(record(names(50), mixed)),
  "JSON: chat, 60 messages": () => parsed(chat()),
  "JSON: API record": () => parsed(apiRecord()),
  "JSON: 20 search hits": () => parsed(searchPage()),
  "JSON: invoice, 25 lines": () => parsed(invoice()),
  "JSON: GeoJSON, 200 points": () => parsed(polygon()),
  "JSON: 80 tokens with bytes": () => parsed(tokens()),
  "JSON: [], empty": () => parsed([]),
  "JSON: 100 ints": () => parsed(list(100, () => int(1e6))),
  "JSON: 100 doubles": () => parsed(list(100, random)),
  "JSON: 100 strings of 20": () => parsed(list(100, () => letters(20))),
  "JSON: 100 ids of 8": () => parsed(list(100, () => hex(8))),
  "JSON: 100 words of 500": () => parsed(list(100, () => pick(WORDS))),
  "JSON: 100 of { id, name }": () => parsed(list(100, () => ({ id: int(1e6), name: letters(14) }))),
  "JSON: 50 pairs of time and double": () => parsed(list(50, (i) => [1.7e12 + i, random()])),
  "JSON: embedding, 1,536 doubles": () => parsed(list(1536, () => random() - 0.5)),
  "embedding, Float32Array(1536)": () => Float32Array.from(list(1536, random)),
  "class instance, 3 fields": (i) => new Point(i, random()),
  "class instances, nested": () => new Session(),
  "literal, 4 fields": (i) => ({ id: i, name: letters(14), at: new Date(i), price: money() }),
  "array pushed, 1,000 ints": () => pushed(1000),
  "Map, 1 string": () => mapOf(1, () => parsedText(letters(12)), random),
  "Map, 10 ints": () =>
    mapOf(
      10,
      () => int(1e9),
      () => int(1e9),
    ),
  "Map, 100 strings": () =>
    mapOf(
      100,
      () => parsedText(letters(12)),
      () => int(1e9),
    ),
  "Map, 1,000 doubles": () => mapOf(1000, () => int(1e9), random),
  "Set, 10 ints": () => new Set(list(10, () => int(1e9))),
  "Set, 100 strings": () => new Set(list(100, () => parsedText(letters(12)))),
  "Set, 1,000 ints": () => new Set(list(1000, () => int(1e9))),
  "Buffer.from, 100 bytes (pool)": () => Buffer.from(letters(100)),
  "Buffer.from, 1,000 bytes (pool)": () => Buffer.from(letters(1000)),
  "Buffer.alloc(1000)": () => Buffer.alloc(1000),
  "Buffer.alloc(100000)": () => Buffer.alloc(100_000),
  "Uint8Array(32)": () => new Uint8Array(32),
  "ArrayBuffer(1000)": () => new ArrayBuffer(1000),
  "50 database rows": () => rows(),
  "response: headers and Buffer": () => ({
    status: 200,
    headers: parsed({ "content-type": "application/json", etag: hex(32), date: isoDate() }),
    body: Buffer.alloc(3000),
  }),
};

/** What is rare, or what no program can see from outside. */
const ODD: Readonly<Record<string, Make>> = {
  "small int": (i) => i,
  undefined: () => undefined,
  function: (i) => () => i,
  RegExp: (i) => new RegExp(`^${i}[a-z]+$`, "u"),
  Error: (i) => new Error(`the failure ${i}`),
  URL: (i) => new URL(`https://example.com/${i}`),
  "bigint of 1,024 bits": (i) => 2n ** 1000n + BigInt(i),
  "slice of 100 of a string of 2,000": () => parsedText(prose(2000)).slice(50, 150),
  "JSON: {}, empty": () => parsed({}),
  "JSON: 150 of all, the same names": () => parsed(record(names(150), mixed)),
  "JSON: 20 ints by ids": () =>
    parsed(
      record(
        list(20, () => letters(12)),
        () => int(100),
      ),
    ),
  "JSON: 300 ints by ids": () =>
    parsed(
      record(
        list(300, () => letters(12)),
        () => int(100),
      ),
    ),
  "JSON: package.json": () => parsed(manifest()),
  "JSON: 100 words of 8, each once": () => parsed(list(100, () => letters(8))),
  "JSON: 50 ints by numbers 0..": () => parsed(record(list(50, String), () => int(100))),
  "JSON: 50 ints by far numbers": () =>
    parsed(
      record(
        list(50, () => digits(7)),
        () => int(100),
      ),
    ),
  "JSON: 100 numbers and nulls": () => parsed(list(100, (i) => (i % 10 === 0 ? null : random()))),
  "{} and 10 assigned": () => assigned(record(names(10), mixed)),
  "{} and 30 assigned": () => assigned(record(names(30), mixed)),
  "12 assigned, 1 deleted": () => withDeleted(),
  "null prototype, 5 names": () => Object.assign(Object.create(null), record(names(5), mixed)),
  "null prototype, 100 ids": () =>
    Object.assign(
      Object.create(null),
      record(
        list(100, () => letters(12)),
        () => int(100),
      ),
    ),
  "array pushed, 10 ints": () => pushed(10),
  "sparse array, 100 of 1,000,000": () => sparse(),
  "Array(2000), 2 are filled": () => withRoom(2000),
  "Map, empty": () => new Map(),
  "Map, 33 ints": () =>
    mapOf(
      33,
      () => int(1e9),
      () => int(1e9),
    ),
};

const SHAPES: Readonly<Record<string, Make>> = { ...REALISTIC, ...ODD };

/** Bytes that live; several collections, as one can leave what the next takes. */
function liveBytes(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** In a process of its own. Prints the bytes of a value, measured and estimated. */
function measure(make: Make): void {
  // What V8 makes once for all values of a shape is there before the first measurement.
  const first = list(100, make);
  let some = 0;
  for (const value of first) some += estimateSize(value);
  const count = Math.min(MAX_VALUES, Math.max(MIN_VALUES, Math.round(BYTES / (some / first.length))));
  const values: unknown[] = Array.from({ length: count });
  values.fill("");
  const before = liveBytes();
  for (let i = 0; i < count; i++) values[i] = make(1000 + i);
  const measured = (liveBytes() - before) / count;
  let estimated = 0;
  for (const value of values) estimated += estimateSize(value);
  console.log(JSON.stringify({ measured, estimated: estimated / count }));
}

function rowOf(shape: string): string[] {
  const program = fileURLToPath(import.meta.url);
  const options = ["--expose-gc", "--single-threaded-gc", "--no-warnings", program, "--one", shape];
  const found: unknown = JSON.parse(execFileSync(process.execPath, options, { encoding: "utf8", timeout: 60_000 }));
  const [measured, estimated] = [numberField(found, "measured"), numberField(found, "estimated")];
  const error = (estimated / measured - 1) * 100;
  return [shape, bytesText(measured), bytesText(estimated), measured < 1 ? "" : `${error.toFixed(1)} %`];
}

const bytesText = (bytes: number): string => (bytes < 0.5 ? "0" : Math.round(bytes).toLocaleString("en"));

const asked = process.argv.slice(2);
if (asked[0] === "--one") {
  const make = field(SHAPES, asked[1] ?? "");
  if (typeof make !== "function") throw new Error(`There is no shape ${JSON.stringify(asked[1])}.`);
  measure(make as Make);
} else {
  const wanted = Object.keys(SHAPES).filter((shape) => asked.every((word) => shape.includes(word)));
  console.log(markdownTable([["shape", "measured, bytes", "estimate", "error"], ...wanted.map(rowOf)]));
}
