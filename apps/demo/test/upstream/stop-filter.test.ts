import * as fc from "fast-check";
import { expect, test } from "vitest";
import { StopFilter } from "../../src/upstream/stop-filter.ts";

/** Feeds the pieces; gives all that was passed on. */
function filter(pieces: readonly string[], stops: readonly string[]): { text: string; stopped: boolean } {
  const stop = new StopFilter(stops);
  let text = "";
  for (const piece of pieces) {
    const result = stop.push(piece);
    text += result.text;
    if (result.stopped) return { text, stopped: true };
  }
  return { text: text + stop.flush(), stopped: false };
}

/** The definition, on the whole text: look for the first character at which some stop sequence is complete. */
function reference(text: string, stops: readonly string[]): { text: string; stopped: boolean } {
  for (let end = 1; end <= text.length; end++) {
    const complete = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (complete.length === 0) continue;
    const longest = Math.max(...complete.map((stop) => stop.length));
    return { text: text.slice(0, end - longest), stopped: true };
  }
  return { text, stopped: false };
}

// Two letters make overlaps and false starts frequent.
const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 30 });
const someStops = fc.array(fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 5 }), {
  maxLength: 4,
});

test("the text ends before the first stop sequence, wherever the pieces are cut", () => {
  fc.assert(
    fc.property(letters, someStops, fc.array(fc.nat(30)), (text, stops, cuts) => {
      const points = [0, ...cuts.filter((cut) => cut < text.length).toSorted((a, b) => a - b), text.length];
      const pieces = points.slice(1).map((point, i) => text.slice(points[i], point));
      expect(filter(pieces, stops)).toEqual(reference(text, stops));
    }),
    { numRuns: 2000 },
  );
});

test("what was passed on is never a part of a stop sequence that came later", () => {
  fc.assert(
    fc.property(letters, someStops, (text, stops) => {
      const stop = new StopFilter(stops);
      let passed = "";
      for (const letter of text) {
        const result = stop.push(letter);
        passed += result.text;
        expect(reference(text, stops).text.startsWith(passed)).toBe(true);
        if (result.stopped) return;
      }
    }),
  );
});

test("a stop sequence may span several tokens", () => {
  expect(filter(["one", " t", "wo", " thr", "ee"], ["two th"])).toEqual({ text: "one ", stopped: true });
});

test("a false start of a stop sequence is passed on in full", () => {
  expect(filter(["aab", "aac"], ["aabaab"])).toEqual({ text: "aabaac", stopped: false });
});

test("text without stop sequences passes at once", () => {
  expect(new StopFilter([]).push("abc")).toEqual({ text: "abc", stopped: false });
});
