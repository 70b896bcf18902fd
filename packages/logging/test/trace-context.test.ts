import fc from "fast-check";
import { fromTraceparent, newTraceContext, toTraceparent } from "@vg/logging";
import { describe, expect, test } from "vitest";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";
const HEADER = `00-${TRACE}-${SPAN}-01`;

const hex = (length: number): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(..."0123456789abcdef".split("")), minLength: length, maxLength: length });
const id = (length: number): fc.Arbitrary<string> => hex(length).filter((text) => /[^0]/.test(text));
const twoDigits = (bits: number): string => bits.toString(16).padStart(2, "0");

describe("fromTraceparent", () => {
  test("reads the header of the specification's example", () => {
    expect(fromTraceparent(HEADER)).toEqual({ trace_id: TRACE, span_id: SPAN, trace_flags: "01" });
  });

  test.each([
    ["nothing", undefined],
    ["null", null],
    ["an empty text", ""],
    ["version ff", `ff-${TRACE}-${SPAN}-01`],
    ["a trace_id of zeros", `00-${"0".repeat(32)}-${SPAN}-01`],
    ["a span_id of zeros", `00-${TRACE}-${"0".repeat(16)}-01`],
    ["an upper-case trace_id", `00-${TRACE.toUpperCase()}-${SPAN}-01`],
    ["an upper-case version", `0A-${TRACE}-${SPAN}-01`],
    ["upper-case flags", `00-${TRACE}-${SPAN}-0A`],
    ["a letter that is no digit", `00-${TRACE.replace("4", "g")}-${SPAN}-01`],
    ["a short trace_id", `00-${TRACE.slice(1)}-${SPAN}-01`],
    ["a long trace_id", `00-${TRACE}0-${SPAN}-01`],
    ["a short span_id", `00-${TRACE}-${SPAN.slice(1)}-01`],
    ["short flags", `00-${TRACE}-${SPAN}-1`],
    ["long flags", `00-${TRACE}-${SPAN}-010`],
    ["no flags", `00-${TRACE}-${SPAN}`],
    ["a dash at the end of version 00", `${HEADER}-`],
    ["a fifth part in version 00", `${HEADER}-what-the-future-brings`],
    ["other separators", HEADER.replaceAll("-", "_")],
    ["space around it", ` ${HEADER} `],
    ["a line break after it", `${HEADER}\n`],
    ["two headers, which Node joins", `${HEADER}, ${HEADER}`],
    ["two headers in a list", [HEADER, HEADER]],
    ["a later version that is too short", `01-${TRACE}-${SPAN}-0`],
    ["a later version with something but a dash after the flags", `01-${TRACE}-${SPAN}-01.more`],
  ])("gives null for %s", (_, header) => {
    expect(fromTraceparent(header)).toBeNull();
  });

  test("takes from a later version what it shares with this one, and of its flags only the sampled bit", () => {
    const expected = { trace_id: TRACE, span_id: SPAN, trace_flags: "01" };
    expect(fromTraceparent(`01-${TRACE}-${SPAN}-01`)).toEqual(expected);
    expect(fromTraceparent(`cc-${TRACE}-${SPAN}-ff-what the\nfuture-brings`)).toEqual(expected);
    expect(fromTraceparent(`fe-${TRACE}-${SPAN}-fe-`)).toEqual({ ...expected, trace_flags: "00" });
  });

  test("passes tracestate along, several joined, but not without a traceparent", () => {
    expect(fromTraceparent(HEADER, "a=1,b=2")).toMatchObject({ tracestate: "a=1,b=2" });
    expect(fromTraceparent([HEADER], ["a=1", "b=2"])).toMatchObject({ tracestate: "a=1,b=2" });
    expect(fromTraceparent(HEADER, "")).not.toHaveProperty("tracestate");
    expect(fromTraceparent("no", "a=1")).toBeNull();
  });

  test("never throws, and never makes anything up", () => {
    const revoked = Proxy.revocable([], {});
    revoked.revoke();
    expect(fromTraceparent(revoked.proxy)).toBeNull();
    const almost = fc.array(fc.constantFrom("00", "ff", "01", "-", TRACE, SPAN, "0", "A", "\n")).map((p) => p.join(""));
    fc.assert(
      fc.property(fc.oneof(almost, fc.string(), fc.anything()), (header) => {
        const context = fromTraceparent(header as string);
        if (context === null) return;
        const text = String(header);
        expect(text.slice(3, 52)).toBe(`${context.trace_id}-${context.span_id}`);
        expect(context.trace_id).not.toMatch(/^0*$/);
        expect(context.span_id).not.toMatch(/^0*$/);
      }),
    );
  });
});

describe("toTraceparent", () => {
  test("is what fromTraceparent reads, for all valid ids and flags", () => {
    fc.assert(
      fc.property(id(32), id(16), fc.integer({ min: 0, max: 255 }), (trace_id, span_id, bits) => {
        const header = toTraceparent({ trace_id, span_id, trace_flags: twoDigits(bits) });
        // Bits that nobody has defined yet are sent as zero.
        expect(header).toBe(`00-${trace_id}-${span_id}-${twoDigits(bits & 3)}`);
        const read = fromTraceparent(header);
        expect(read).toEqual({ trace_id, span_id, trace_flags: twoDigits(bits & 3) });
        expect(toTraceparent(read)).toBe(header);
      }),
    );
  });

  test("is null without valid ids, and takes flags that are none for 00", () => {
    expect(toTraceparent(null)).toBeNull();
    expect(toTraceparent(undefined)).toBeNull();
    expect(toTraceparent({ trace_id: TRACE })).toBeNull();
    expect(toTraceparent({ trace_id: TRACE.toUpperCase(), span_id: SPAN })).toBeNull();
    expect(toTraceparent({ trace_id: TRACE, span_id: "0".repeat(16) })).toBeNull();
    expect(toTraceparent({ trace_id: TRACE, span_id: SPAN })).toBe(`00-${TRACE}-${SPAN}-00`);
    expect(toTraceparent({ trace_id: TRACE, span_id: SPAN, trace_flags: "\r\n" })).toBe(`00-${TRACE}-${SPAN}-00`);
  });

  test("never throws, and gives null or a valid header", () => {
    const hostile = {
      get trace_id(): string {
        throw new Error("no");
      },
    };
    expect(toTraceparent(hostile)).toBeNull();
    const loose = fc.record({ trace_id: fc.anything(), span_id: fc.anything(), trace_flags: fc.anything() });
    fc.assert(
      fc.property(fc.oneof(loose, fc.anything()), (context) => {
        const header = toTraceparent(context as object);
        expect(header === null || fromTraceparent(header) !== null).toBe(true);
      }),
    );
  });
});

describe("newTraceContext", () => {
  test("is a new span in the trace of its parent", () => {
    const parent = fromTraceparent(HEADER, "a=1");
    const child = newTraceContext(parent);
    expect(child).toEqual({ trace_id: TRACE, span_id: child.span_id, trace_flags: "01", tracestate: "a=1" });
    expect(child.span_id).not.toBe(SPAN);
  });

  test("is a new trace without a parent, or without one that is valid, and always valid itself", () => {
    const hostile = {
      get trace_id(): string {
        throw new Error("no");
      },
    };
    const all = [undefined, null, {}, { trace_id: "short" }, hostile].map((parent) => newTraceContext(parent));
    for (const context of all) {
      expect(fromTraceparent(toTraceparent(context))).toEqual(context);
      expect(context.trace_flags).toBe("00");
    }
    expect(new Set(all.map(({ trace_id }) => trace_id)).size).toBe(all.length);
  });
});
