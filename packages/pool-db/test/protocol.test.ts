import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import pg from "pg";
import { expect, test } from "vitest";
import { Columns, readFields, type Field, type TypeParsers } from "../src/protocol/columns.ts";
import { Exchange, type WireStatement } from "../src/protocol/exchange.ts";
import { isForPg } from "../src/protocol/foreign-messages.ts";
import { MalformedMessageError } from "../src/protocol/malformed-message.ts";
import { MessageBoundaries } from "../src/protocol/message-boundaries.ts";
import { MessageWriter, type WireValue } from "../src/protocol/message-writer.ts";
import { readInteger, readText } from "../src/protocol/text-decoder.ts";
import { serialise } from "../src/protocol/values.ts";
import { Reader, errorResponse, int16, message, notice, rowBody, rowDescription, text } from "./wire-bytes.ts";

// ---- Writing -----------------------------------------------------------------------------------------------------------

/** Any UTF-16 units, halves of pairs among them; a few letters most of the time. */
const anyText = fc.oneof(
  fc.string({ maxLength: 60 }),
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc.array(fc.integer({ min: 1, max: 0xffff }), { maxLength: 60 }).map((units) => String.fromCharCode(...units)),
  // Long ones, so that a slab of 64 KiB ends everywhere.
  fc
    .tuple(fc.constantFrom("x", "é", "€", "😀", "\ud800"), fc.integer({ min: 1, max: 40_000 }))
    .map(([unit, count]) => unit.repeat(count)),
);
const noNul = anyText.map((given) => given.replaceAll("\0", ""));
const value: fc.Arbitrary<WireValue> = fc.oneof(
  { weight: 4, arbitrary: anyText },
  { weight: 1, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 90_000 }).map((length) => Buffer.alloc(length, length % 251)) },
);
type Piece =
  | { type: "parse"; name: string; query: string }
  | { type: "bind"; name: string; values: readonly WireValue[] }
  | { type: "describe" | "execute" | "sync" | "take" | "unfinished" }
  | { type: "close"; name: string };
const piece: fc.Arbitrary<Piece> = fc.oneof(
  fc.record({ type: fc.constant("parse" as const), name: noNul, query: noNul }),
  fc.record({ type: fc.constant("bind" as const), name: noNul, values: fc.array(value, { maxLength: 12 }) }),
  fc.record({ type: fc.constantFrom("describe" as const, "execute", "sync", "take", "unfinished") }),
  fc.record({ type: fc.constant("close" as const), name: noNul }),
);

test("what was written is what is read by a decoder of another make, wherever the memory of the writer ends", () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30, size: "max" }), (pieces) => {
      const writer = new MessageWriter();
      const taken: Buffer[] = [];
      for (const given of pieces) {
        if (given.type === "parse") writer.parse(given.name, given.query);
        else if (given.type === "bind") writer.bind(given.name, given.values);
        else if (given.type === "close") writer.closeStatement(given.name);
        else if (given.type === "describe") writer.describePortal();
        else if (given.type === "execute") writer.execute();
        else if (given.type === "sync") writer.sync();
        else if (given.type === "take") taken.push(writer.take());
        else {
          const { length } = writer;
          writer.parse("never", "x".repeat(70_000));
          writer.backTo(length);
        }
      }
      taken.push(writer.take());
      expect(writer.length).toBe(0);
      const reader = new Reader(Buffer.concat(taken));
      for (const given of pieces) if (given.type !== "take" && given.type !== "unfinished") expectPiece(reader, given);
      expect(reader.done).toBe(true);
    }),
    { numRuns: 60 },
  );
});

function expectPiece(reader: Reader, given: Piece): void {
  const { type, body } = reader.message();
  const same = (bytes: Buffer, expected: Buffer | string): void => {
    // Buffer.equals: the matcher compares byte by byte, and takes seconds.
    expect(bytes.equals(Buffer.from(expected as string))).toBe(true);
  };
  if (given.type === "parse") {
    expect(type).toBe("P");
    same(body.text(), given.name);
    same(body.text(), given.query);
    expect(body.int(2)).toBe(0);
  } else if (given.type === "bind") {
    expect(type).toBe("B");
    same(body.text(), "");
    same(body.text(), given.name);
    const formats = Array.from({ length: body.int(2) }, () => body.int(2));
    if (formats.length > 0) expect(formats).toEqual(given.values.map((item) => (Buffer.isBuffer(item) ? 1 : 0)));
    else expect(given.values.some((item) => Buffer.isBuffer(item))).toBe(false);
    expect(body.int(2)).toBe(given.values.length);
    for (const item of given.values) {
      const length = body.signed();
      if (item === null) expect(length).toBe(-1);
      else same(body.bytes(length), item);
    }
    expect(body.int(2)).toBe(0);
  } else if (given.type === "close") {
    expect(type).toBe("C");
    same(body.bytes(1), "S");
    same(body.text(), given.name);
  } else if (given.type === "describe") {
    expect(type).toBe("D");
    same(body.bytes(2), "P\0");
  } else if (given.type === "execute") {
    expect(type).toBe("E");
    same(body.text(), "");
    expect(body.int(4)).toBe(0);
  } else {
    expect(type).toBe("S");
  }
  expect(body.done).toBe(true);
}

test("memory that was made for something large is not kept for what is small", () => {
  const writer = new MessageWriter();
  writer.bind("", ["x".repeat(5_000_000)]);
  expect(writer.take().length).toBeGreaterThan(5_000_000);
  writer.sync();
  expect(writer.take().buffer.byteLength).toBeLessThan(100_000);
});

test("a text of ASCII is written without three times its room", () => {
  const writer = new MessageWriter();
  writer.bind("", ["x".repeat(50_000_000)]);
  expect(writer.take().buffer.byteLength).toBeLessThan(110_000_000);
});

test("what cannot be written fails alone: nothing of it is sent, and all around it is", () => {
  const writer = new MessageWriter();
  const outcomes: unknown[] = [];
  const exchange = (values: readonly WireValue[], closes: readonly string[]): Exchange =>
    new Exchange([statement({ values })], closes, false, ({ error }) => outcomes.push(error));
  const tooMany = Array.from<WireValue>({ length: 65_536 }).fill(null);
  const [before, broken, after] = [exchange(["a"], []), exchange(tooMany, ["vg_1"]), exchange(["b"], [])];
  for (const each of [before, broken, after]) each.write(writer);
  const reader = new Reader(writer.take());
  const types: string[] = [];
  while (!reader.done) types.push(reader.message().type);
  expect(types.join("")).toBe("PBDESCSPBDES");
  expect([before.error, broken.error, after.error]).toEqual([undefined, expect.any(RangeError), undefined]);
});

test("values become what pg makes of them, or an error before anything is sent", () => {
  const given = [
    1,
    "a",
    true,
    null,
    undefined,
    { a: 1 },
    { toJSON: () => undefined },
    [1, [2, null]],
    10n,
    Buffer.of(1),
  ];
  const { prepareValue } = (pg as unknown as { utils: { prepareValue: (value: unknown) => unknown } }).utils;
  expect(serialise(given)).toEqual(given.map((item) => prepareValue(item) ?? null));
  expect(serialise([new Uint8Array([1, 2])])).toEqual([Buffer.of(1, 2)]);
  const circular: { self?: unknown } = {};
  circular.self = circular;
  for (const bad of [
    circular,
    {
      toPostgres: () => {
        throw new TypeError("no");
      },
    },
    Object.assign(() => 1, { toString: () => 5 }),
  ]) {
    expect(() => serialise([1, bad])).toThrow(TypeError);
  }
  expect(() => serialise(Array.from({ length: 65_536 }))).toThrow("a statement takes at most 65535 values, got 65536");
});

// ---- Reading -----------------------------------------------------------------------------------------------------------

test("a text is read as Buffer#toString reads it", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        anyText.map((given) => Buffer.from(given)),
        fc.uint8Array({ maxLength: 20 }),
      ),
      (given) => {
        const bytes = Buffer.concat([Buffer.of(65, 200), given, Buffer.of(200, 65)]);
        expect(readText(bytes, 2, 2 + given.length)).toBe(Buffer.from(given).toString());
      },
    ),
  );
});

test("an integer is read as parseInt reads it, or left to parseInt", () => {
  const digits = fc.oneof(
    fc.integer().map(String),
    fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
    fc.stringMatching(/^[-+ ]?[0-9]{0,12}[-+ .ax]?$/),
  );
  let fast = 0;
  fc.assert(
    fc.property(digits, (given) => {
      const bytes = Buffer.from(`9${given}9`);
      const read = readInteger(bytes, 1, bytes.length - 1);
      if (!Number.isNaN(read)) {
        fast++;
        expect(read).toBe(Number.parseInt(given, 10));
      }
    }),
  );
  expect(fast).toBeGreaterThan(20);
});

const OIDS = [16, 17, 20, 21, 23, 25, 26, 114, 700, 1007, 1043, 1184, 3802, 999_999];
const names = fc.array(
  fc.oneof(
    fc.constantFrom(
      "",
      "__proto__",
      "constructor",
      "toString",
      "hasOwnProperty",
      "0",
      "1",
      "-1",
      "4294967295",
      "a",
      "a b",
    ),
    fc.constantFrom('"', "\\", "\n", "\u2028", "`${x}`", "]:1", "é", "😀"),
    fc.string({ maxLength: 8 }).map((name) => name.replaceAll("\0", "")),
  ),
  { maxLength: 12 },
);

/** Of a type, as the server writes it. */
function sample(oid: number, n: number): string {
  if (oid === 16) return n % 2 === 0 ? "t" : "f";
  if (oid === 17) return "\\x00ff";
  if ([20, 21, 23, 26, 700].includes(oid)) return String(n % 3 === 0 ? -n : n * 1_234_567);
  if (oid === 114 || oid === 3802) return `{"n":${n}}`;
  if (oid === 1007) return `{${n},NULL}`;
  if (oid === 1184) return "2024-02-03 04:05:06.789+00";
  return n % 5 === 0 ? "" : `text ${n} é`;
}

const fieldOf = (name: string, dataTypeID: number): Field => {
  return { name, tableID: 1, columnID: 2, dataTypeID, dataTypeSize: -1, dataTypeModifier: -1, format: "text" };
};

/** pg's Result, as far as it is used here. */
interface PgResult {
  addFields(fields: readonly Field[]): void;
  parseRow(values: readonly (string | null)[]): unknown;
}
const PgResult = pg.Result as unknown as new (rowMode: string | undefined, types: TypeParsers) => PgResult;

test("rows are the ones that pg makes, whatever the columns are called, and however many rows there are", () => {
  fc.assert(
    fc.property(names, fc.boolean(), fc.nat(), (given, asArray, seed) => {
      const fields = given.map((name, index) => fieldOf(name, OIDS[(seed + index) % OIDS.length] as number));
      const columns = new Columns(fields);
      columns.useTypes(pg.types as unknown as TypeParsers);
      const theirs = new PgResult(asArray ? "array" : undefined, pg.types as unknown as TypeParsers);
      theirs.addFields(fields);
      // The maker of rows is compiled after forty.
      for (let n = 0; n < 45; n++) {
        const values = fields.map(({ dataTypeID }, index) => ((n + index) % 7 === 0 ? null : sample(dataTypeID, n)));
        const body = rowBody(values);
        const bytes = Buffer.concat([Buffer.of(1, 2, 3), body, Buffer.of(4)]);
        const ours = columns.readRow(bytes, 3, 3 + body.length, asArray);
        const expected = theirs.parseRow(values);
        expect(Object.entries(ours)).toStrictEqual(Object.entries(expected as object));
        expect(Object.getPrototypeOf(ours)).toBe(Object.getPrototypeOf(expected));
      }
    }),
    { numRuns: 60 },
  );
});

test("a parser of pg's that is set for another type still does there what it does", () => {
  const parserOf = (oid: number) => pg.types.getTypeParser(oid as never) as (value: string) => unknown;
  for (const oid of [16, 21, 25]) {
    const parser = parserOf(oid);
    const columns = new Columns([fieldOf("a", 25)]);
    columns.useTypes({ getTypeParser: () => parser });
    for (const given of [
      "t",
      "f",
      "true",
      "TRUE",
      "false",
      "tomato",
      "yes",
      "1",
      "y",
      "0",
      "",
      "12x",
      " 7",
      "-",
      "-0",
    ]) {
      const body = rowBody([given]);
      expect(columns.readRow(body, 0, body.length, true)).toStrictEqual([parser(given)]);
    }
  }
});

test("where types give no function, only a value needs one", () => {
  const columns = new Columns([fieldOf("a", 25)]);
  columns.useTypes({ getTypeParser: () => undefined });
  expect(columns.readRow(rowBody([null]), 0, 6, true)).toEqual([null]);
  expect(() => columns.readRow(rowBody(["x"]), 0, 7, true)).toThrow("types.getTypeParser(25) gave no function");
});

test("columns hold on to no value of the row that was read last", async () => {
  const columns = new Columns([fieldOf("a", 114)]);
  columns.useTypes(pg.types as unknown as TypeParsers);
  const exchange = new Exchange([statement({ columns })], [], false, () => undefined);
  const body = rowBody(['{"large":true}']);
  exchange.dataRow(body, 0, body.length);
  const tag = Buffer.from("SELECT 1");
  exchange.commandComplete(tag, 0, tag.length);
  const [
    {
      rows: [row],
    },
  ] = exchange.results as unknown as [{ rows: [{ a: object }] }];
  const held = new WeakRef(row.a);
  row.a = {};
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  // A weak reference is cleared only between two turns.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  expect(held.deref()).toBeUndefined();
});

test("rows are made without generated code where that is forbidden", async () => {
  const program = `
    const { Columns } = await import(${JSON.stringify(import.meta.resolve("../src/protocol/columns.ts"))});
    const columns = new Columns(["a", "__proto__", "a"].map((name) => ({ name, dataTypeID: 25, format: "text" })));
    columns.useTypes({ getTypeParser: () => String });
    const body = Buffer.from(${JSON.stringify(rowBody(["1", "2", "3"]).toString("hex"))}, "hex");
    let row;
    for (let n = 0; n < 100; n++) row = columns.readRow(body, 0, body.length, false);
    let forbidden = false;
    try { new Function("return 1"); } catch { forbidden = true; }
    console.log(JSON.stringify([forbidden, Object.entries(row)]));
  `;
  const { stdout } = await promisify(execFile)(process.execPath, [
    "--disallow-code-generation-from-strings",
    "--input-type=module",
    "-e",
    program,
  ]);
  expect(JSON.parse(stdout)).toEqual([
    true,
    [
      ["a", "3"],
      ["__proto__", "2"],
    ],
  ]);
});

test("a row or a description that does not fit its message is recognised, wherever it is cut", () => {
  const columns = new Columns([fieldOf("a", 25), fieldOf("b", 23)]);
  columns.useTypes(pg.types as unknown as TypeParsers);
  const row = rowBody(["text", "1"]);
  const description = rowDescription(["first", "second"]).subarray(5);
  expect(readFields(description, 0, description.length).map(({ name }) => name)).toEqual(["first", "second"]);
  for (let end = 0; end < row.length; end++) {
    // What follows in the same chunk is another message's.
    const bytes = Buffer.concat([row.subarray(0, end), Buffer.alloc(40, 1)]);
    expect(() => columns.readRow(bytes, 0, end, false)).toThrow(MalformedMessageError);
    expect(() => columns.readRow(row.subarray(0, end), 0, end, false)).toThrow(MalformedMessageError);
  }
  for (let end = 0; end < description.length; end++) {
    const bytes = Buffer.concat([description.subarray(0, end), Buffer.alloc(40, 0)]);
    expect(() => readFields(bytes, 0, end)).toThrow(MalformedMessageError);
    expect(() => readFields(description.subarray(0, end), 0, end)).toThrow(MalformedMessageError);
  }
  const longer = Buffer.concat([row, Buffer.of(0)]);
  expect(() => columns.readRow(longer, 0, longer.length, false)).toThrow(MalformedMessageError);
  for (const values of [[], ["a"], ["a", "1", "c"]]) {
    const body = rowBody(values);
    expect(() => columns.readRow(body, 0, body.length, false)).toThrow(MalformedMessageError);
  }
});

test("random bytes in the place of a row or a description are an error, and nothing else", () => {
  const columns = new Columns([fieldOf("a", 25), fieldOf("b", 23)]);
  columns.useTypes(pg.types as unknown as TypeParsers);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat({ max: 40 }), (given, cut) => {
      const bytes = Buffer.from(given);
      const end = Math.min(cut, bytes.length);
      for (const read of [() => columns.readRow(bytes, 0, end, false), () => readFields(bytes, 0, end)]) {
        try {
          read();
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedMessageError);
        }
      }
    }),
    { numRuns: 1_000 },
  );
});

/** Every tag that begins with a word of letters, as the server's are. */
const tag = fc
  .tuple(
    fc.array(fc.stringMatching(/^[A-Z]{1,9}$/), { minLength: 1, maxLength: 3 }),
    fc.array(fc.nat({ max: 2 ** 31 }), { maxLength: 2 }),
  )
  .map(([words, numbers]) => [...words, ...numbers].join(" "));
const KNOWN_TAGS = ["SELECT 5", "INSERT 0 3", "INSERT 12345 1", "UPDATE 0", "DELETE 7", "MERGE 2", "COPY 9", "FETCH 1"];
const MORE_TAGS = [
  "CREATE TABLE",
  "SET",
  "BEGIN",
  "SELECT",
  "MOVE 0",
  "REFRESH MATERIALIZED VIEW",
  "DO",
  "SEND",
  "INVITE",
];

test("a command's tag is read as pg reads it", () => {
  const read = (given: string): unknown => {
    const exchange = new Exchange([statement({})], [], false, () => undefined);
    const bytes = text(`..${given}`);
    exchange.commandComplete(bytes, 2, bytes.length - 1);
    const { command, rowCount, oid } = exchange.results[0] ?? {};
    return { command, rowCount, oid };
  };
  const theirs = (given: string): unknown => {
    const result = new pg.Result("", undefined as never) as unknown as {
      addCommandComplete(message: { text: string }): void;
      command: string;
      rowCount: number;
      oid: number;
    };
    result.addCommandComplete({ text: given });
    const { command, rowCount, oid } = result;
    return { command, rowCount, oid };
  };
  for (const given of [...KNOWN_TAGS, ...MORE_TAGS]) expect(read(given)).toEqual(theirs(given));
  fc.assert(
    fc.property(tag, (given) => {
      expect(read(given)).toEqual(theirs(given));
    }),
  );
});

function statement(given: Partial<WireStatement>): WireStatement {
  const types = pg.types as unknown as TypeParsers;
  return { text: "select 1", name: "", parse: true, values: [], columns: undefined, asArray: false, types, ...given };
}

// ---- Where messages begin ----------------------------------------------------------------------------------------------

/** Messages of all lengths, cut into pieces anywhere. */
const chopped = fc
  .tuple(
    fc.array(fc.nat({ max: 600 }), { minLength: 1, maxLength: 20 }),
    fc.infiniteStream(fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 500 }))),
  )
  .map(([lengths, sizes]) => {
    const messages = lengths.map((length) => message("x", Buffer.alloc(length, length)));
    const whole = Buffer.concat(messages);
    const pieces: Buffer[] = [];
    for (let at = 0; at < whole.length;) {
      const end = Math.min(whole.length, at + sizes.next().value);
      pieces.push(whole.subarray(at, end));
      at = end;
    }
    const borders = new Set<number>([0]);
    let border = 0;
    for (const { length } of messages) borders.add((border += length));
    return { pieces, borders };
  });

test("however the bytes are cut, it is known where a message is under way", () => {
  fc.assert(
    fc.property(chopped, ({ pieces, borders }) => {
      const boundaries = new MessageBoundaries();
      let at = 0;
      for (const bytes of pieces) {
        boundaries.follow(bytes, 0);
        at += bytes.length;
        expect(boundaries.between).toBe(borders.has(at));
      }
    }),
  );
});

test("however the bytes are cut, the end of the message under way is found", () => {
  fc.assert(
    fc.property(chopped, fc.nat(), ({ pieces, borders }, seed) => {
      const boundaries = new MessageBoundaries();
      const first = seed % pieces.length;
      let at = 0;
      for (const [index, bytes] of pieces.entries()) {
        if (index < first) boundaries.follow(bytes, 0);
        else {
          const end = boundaries.finish(bytes);
          const border = [...borders].find((candidate) => candidate >= at) as number;
          expect(at + end).toBe(Math.min(border, at + bytes.length));
          if (boundaries.between) return;
        }
        at += bytes.length;
      }
    }),
  );
});

// ---- What is pg's to read ----------------------------------------------------------------------------------------------

test("pg's reader gets only messages that it can read to their end", () => {
  const good = [
    errorResponse("ERROR", "42601", "words"),
    notice("é"),
    message("N", Buffer.of(0)),
    message("A", Buffer.alloc(4), text("channel"), text("")),
    message("S", text("TimeZone"), text("UTC")),
    message("G", Buffer.of(0), int16(2), int16(0), int16(0)),
    message("H", Buffer.of(0), int16(0)),
    message("d", Buffer.from("anything")),
    message("c"),
  ];
  for (const bytes of good) {
    const type = bytes[0] as number;
    expect(isForPg(type, bytes, 5, bytes.length)).toBe(true);
    for (let end = 5; end < bytes.length; end++) {
      if (type === 0x64) continue;
      const inAChunk = Buffer.concat([bytes.subarray(0, end), Buffer.alloc(50)]);
      expect(isForPg(type, bytes.subarray(0, end), 5, end)).toBe(false);
      expect(isForPg(type, inAChunk, 5, end)).toBe(false);
    }
  }
  for (const type of "RKvtsWVT1") {
    const bytes = message(type);
    expect(isForPg(bytes[0] as number, bytes, 5, bytes.length)).toBe(false);
  }
});
