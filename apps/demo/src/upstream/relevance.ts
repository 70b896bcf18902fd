/** Which passages a prompt is about: BM25 over stemmed words (Robertson and Zaragoza, 2009). */
import type { Passage } from "./documents.ts";

const K1 = 1.2;
const B = 0.75;
/** A heading says what a passage is about, more than any word in it. */
const HEADING_COUNT = 2;

const STOP_WORDS = new Set(
  (
    "a about after all also an and any are as at be because been before but by can could did do does for from get give had has " +
    "have how i if in into is it its just know let like make many me more most much my need no not of on one or our out over " +
    "please say should show so some such tell than that the their them then there these they this those to two up us use used " +
    "using very want was way we were what when where which while who why will with would you your explain describe write"
  ).split(" "),
);

/** The words of `text` that carry meaning, in lower case and without the commonest English endings. */
export function contentTerms(text: string): string[] {
  const words = text.toLowerCase().match(/[\p{L}\p{N}_]{2,}/gu) ?? [];
  return words.filter((word) => !STOP_WORDS.has(word)).map(stem);
}

export class RelevanceIndex {
  readonly #size: number;
  /** For every term, the passages that hold it, with how often and how much that counts in a passage of that length. */
  readonly #postings = new Map<string, { passage: number; weight: number }[]>();

  constructor(passages: readonly Passage[]) {
    this.#size = passages.length;
    const counts = passages.map(({ heading, text }) => {
      const count = new Map<string, number>();
      for (const term of contentTerms(text)) count.set(term, (count.get(term) ?? 0) + 1);
      for (const term of contentTerms(heading)) count.set(term, (count.get(term) ?? 0) + HEADING_COUNT);
      return count;
    });
    const lengths = counts.map((count) => [...count.values()].reduce((sum, n) => sum + n, 0));
    const meanLength = lengths.reduce((sum, n) => sum + n, 0) / Math.max(1, lengths.length);
    counts.forEach((count, passage) => {
      const norm = K1 * (1 - B + (B * (lengths[passage] as number)) / meanLength);
      for (const [term, n] of count) {
        const posting = { passage, weight: (n * (K1 + 1)) / (n + norm) };
        const postings = this.#postings.get(term);
        if (postings === undefined) this.#postings.set(term, [posting]);
        else postings.push(posting);
      }
    });
  }

  /** How much each passage is about `prompt`, from 0 to 1, where the best one has 1; all 0 when none is. */
  scores(prompt: string): Float64Array {
    const scores = new Float64Array(this.#size);
    for (const term of new Set(contentTerms(prompt))) {
      const postings = this.#postings.get(term);
      if (postings === undefined) continue;
      const rarity = Math.log(1 + (this.#size - postings.length + 0.5) / (postings.length + 0.5));
      for (const { passage, weight } of postings) scores[passage] = (scores[passage] as number) + rarity * weight;
    }
    const best = scores.reduce((max, score) => Math.max(max, score), 0);
    return best === 0 ? scores : scores.map((score) => score / best);
  }
}

function stem(word: string): string {
  if (word.length <= 4) return word.endsWith("s") && !word.endsWith("ss") ? word.slice(0, -1) : word;
  return word.replace(/(?:ies|ing|ed|es|s|y|e)$/u, "");
}
