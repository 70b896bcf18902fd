/**
 * Embeddings by random projection of hashed n-grams: every word, every pair of neighbouring words and every run of three
 * to five characters inside a word is a feature; each feature is hashed to a fixed sparse vector of signs (Achlioptas,
 * 2003), and the weighted sum is brought to length 1. Texts that share features come out near, in proportion to how
 * many they share; the character runs bring inflected words together (Bojanowski et al., 2017). It needs no training and
 * knows no meaning: synonyms are as far apart as any two words.
 */
import { hash32, mix32 } from "./random.ts";
import { contentTerms } from "./relevance.ts";

export const EMBEDDING_DIMENSIONS = 256;
/** Non-zero coordinates of a feature's vector. */
const SIGNS_PER_FEATURE = 8;

const WORD_WEIGHT = 1;
const PAIR_WEIGHT = 0.5;
/** All character runs of one word together. */
const CHARACTERS_WEIGHT = 0.8;

/**
 * The vector of `text`, of length 1.
 *
 * @param dimensions 1 to 256; fewer keep the first ones, brought back to length 1
 */
export function embed(text: string, dimensions: number = EMBEDDING_DIMENSIONS): Float32Array {
  const sum = new Float64Array(EMBEDDING_DIMENSIONS);
  const folded = text.normalize("NFKC");
  const terms = contentTerms(folded);
  // A text of stop words, marks or spaces alone still has a place of its own.
  if (terms.length === 0) addFeature(sum, `text:${folded}`, 1);

  // The logarithm keeps a word that is said ten times from drowning the others.
  for (const [term, count] of countsOf(terms)) {
    const weight = 1 + Math.log(count);
    addFeature(sum, `word:${term}`, WORD_WEIGHT * weight);
    const runs = characterRuns(term);
    for (const run of runs) addFeature(sum, `run:${run}`, (CHARACTERS_WEIGHT * weight) / Math.sqrt(runs.length));
  }
  const pairs = terms.slice(1).map((term, i) => `${terms[i]} ${term}`);
  for (const [pair, count] of countsOf(pairs)) addFeature(sum, `pair:${pair}`, PAIR_WEIGHT * (1 + Math.log(count)));

  return normalised(sum.subarray(0, dimensions));
}

/** The cosine of the angle between two vectors of length 1: 1 for the same direction, about 0 for unrelated texts. */
export function cosine(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

function addFeature(sum: Float64Array, feature: string, weight: number): void {
  let state = hash32(feature);
  for (let i = 1; i <= SIGNS_PER_FEATURE; i++) {
    state = mix32(state + Math.imul(i, 0x9e3779b9));
    const coordinate = state & (EMBEDDING_DIMENSIONS - 1);
    const sign = (state & 0x10000) === 0 ? 1 : -1;
    sum[coordinate] = (sum[coordinate] as number) + sign * weight;
  }
}

function characterRuns(term: string): string[] {
  const word = Array.from(`<${term}>`);
  const runs: string[] = [];
  for (let length = 3; length <= 5; length++) {
    for (let start = 0; start + length <= word.length; start++) runs.push(word.slice(start, start + length).join(""));
  }
  return runs;
}

function countsOf(items: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

function normalised(vector: Float64Array): Float32Array {
  const length = Math.hypot(...vector);
  const result = new Float32Array(vector.length);
  // Few dimensions of a short text may all be 0; any fixed direction is as good as another.
  if (length === 0) result[0] = 1;
  else for (let i = 0; i < vector.length; i++) result[i] = (vector[i] as number) / length;
  return result;
}
