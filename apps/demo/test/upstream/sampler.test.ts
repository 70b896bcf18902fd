import * as fc from "fast-check";
import { expect, test } from "vitest";
import { seededRandom } from "../../src/upstream/random.ts";
import { type Candidates, type Sampling, sampleToken } from "../../src/upstream/sampler.ts";

const plain: Sampling = { temperature: 1, topP: 1, topK: 0, frequencyPenalty: 0, presencePenalty: 0 };
const candidates: Candidates = { tokens: [10, 11, 12, 13], probabilities: [0.1, 0.5, 0.3, 0.1] };

/** How often each token is drawn in 10 000 draws. */
function shares(sampling: Partial<Sampling>, used = new Map<number, number>()): Map<number, number> {
  const random = seededRandom(1);
  const counts = new Map<number, number>();
  for (let i = 0; i < 10_000; i++) {
    const token = sampleToken(candidates, { ...plain, ...sampling }, used, random);
    counts.set(token, (counts.get(token) ?? 0) + 1 / 10_000);
  }
  return counts;
}

/** The greedy choice. */
function pick(sampling: Sampling, used: Map<number, number>): number {
  return sampleToken(candidates, sampling, used, noRandom);
}

function noRandom(): number {
  throw new Error("asked for randomness");
}

function first(seed: number): number[] {
  const random = seededRandom(seed);
  return Array.from({ length: 5 }, () => random());
}

test("temperature 0 takes the likeliest token and asks for no randomness", () => {
  expect(sampleToken(candidates, { ...plain, temperature: 0 }, new Map(), noRandom)).toBe(11);
});

test("temperature 0 settles a tie by the token, not by the order of the candidates", () => {
  const tie: Candidates = { tokens: [9, 4, 7], probabilities: [0.4, 0.4, 0.2] };
  expect(sampleToken(tie, { ...plain, temperature: 0 }, new Map(), Math.random)).toBe(4);
});

test("temperature 1 draws by the model's probabilities", () => {
  const drawn = shares({});
  candidates.tokens.forEach((token, i) =>
    expect(drawn.get(token)).toBeCloseTo(candidates.probabilities[i] as number, 1),
  );
});

test("a low temperature sharpens and a high one flattens", () => {
  const usual = shares({}).get(11) as number;
  expect(shares({ temperature: 0.3 }).get(11)).toBeGreaterThan(usual + 0.1);
  expect(shares({ temperature: 2 }).get(11)).toBeLessThan(usual - 0.1);
});

test("top_k keeps the k likeliest", () => {
  expect([...shares({ topK: 2, temperature: 2 }).keys()].toSorted((a, b) => a - b)).toEqual([11, 12]);
  expect([...shares({ topK: 1, temperature: 2 }).keys()]).toEqual([11]);
});

test("top_p keeps the likeliest that make up the share, and always one", () => {
  expect([...shares({ topP: 0.5 }).keys()]).toEqual([11]);
  expect([...shares({ topP: 0.6 }).keys()].toSorted((a, b) => a - b)).toEqual([11, 12]);
  expect([...shares({ topP: 0 }).keys()]).toEqual([11]);
});

test("the frequency penalty grows with every use and the presence penalty does not", () => {
  const greedy = { ...plain, temperature: 0 };
  const once = new Map([[11, 1]]);
  const thrice = new Map([[11, 3]]);
  // ln(0.5 / 0.3) = 0.51
  expect(pick({ ...greedy, frequencyPenalty: 0.4 }, once)).toBe(11);
  expect(pick({ ...greedy, frequencyPenalty: 0.4 }, thrice)).toBe(12);
  expect(pick({ ...greedy, presencePenalty: 0.4 }, thrice)).toBe(11);
  expect(pick({ ...greedy, presencePenalty: 0.6 }, once)).toBe(12);
});

test("it always gives one of the candidates, whatever the settings and the randomness", () => {
  const settings = fc.record({
    temperature: fc.oneof(fc.constant(0), fc.double({ min: 1e-6, max: 2, noNaN: true })),
    topP: fc.double({ min: 0, max: 1, noNaN: true }),
    topK: fc.nat(10),
    frequencyPenalty: fc.double({ min: -2, max: 2, noNaN: true }),
    presencePenalty: fc.double({ min: -2, max: 2, noNaN: true }),
  });
  const weights = fc.array(fc.double({ min: 1e-9, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 });
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(weights, settings, random, fc.nat(1000), (list, sampling, point, uses) => {
      const total = list.reduce((sum, weight) => sum + weight, 0);
      const some = { tokens: list.map((_, i) => i), probabilities: list.map((weight) => weight / total) };
      const token = sampleToken(some, sampling, new Map([[0, uses]]), () => point);
      expect(some.tokens).toContain(token);
    }),
  );
});

test("the same seed gives the same numbers, and near seeds different ones", () => {
  expect(first(42)).toEqual(first(42));
  const seeds = [0, 1, 2, -1, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];
  expect(new Set(seeds.map((seed) => first(seed)[0])).size).toBe(seeds.length);
});

test("the random numbers fill [0, 1) evenly", () => {
  const random = seededRandom(3);
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 20_000; i++) {
    const at = Math.floor(random() * 10);
    tenths[at] = (tenths[at] as number) + 1;
  }
  for (const count of tenths) expect(Math.abs(count - 2000)).toBeLessThan(200);
});
