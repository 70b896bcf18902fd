/**
 * A back-off n-gram language model of orders 1 to 4, adapted to the prompt.
 *
 * Smoothing. The probability of a token after a context interpolates the counts after the longest context with the
 * probability after the context that is one token shorter:
 *
 *     P(w | h) = (C(h w) + K * P(w | h')) / (C(h) + K)
 *
 * the hierarchical Dirichlet model of MacKay and Peto (1995). Contexts of one to three tokens take part; the order 1
 * (no context at all) steps in only where the others have nothing left, because a token drawn without context tears
 * a sentence apart. It is used in preference to Kneser-Ney because counts may be fractions, which the next point needs.
 *
 * Adaptation. Occurrences count by how much the passage they stand in is about the prompt (topic mixtures after Iyer and
 * Ostendorf, 1999), so a question about indexes is answered in the words of the passages about indexes.
 *
 * Counts are taken when they are asked for, from chains of the places where each context occurs: that makes training a
 * single pass, and weights per prompt free.
 */
import { type Passage, passagesOf } from "./documents.ts";
import { hash32, mix32 } from "./random.ts";
import { RelevanceIndex } from "./relevance.ts";
import type { Candidates } from "./sampler.ts";
import { tokenize } from "./tokenizer.ts";

/** To be raised with every change after which the same training text gives other answers. */
const MODEL_VERSION = 1;
/** The weight of the shorter context, in occurrences. */
const K = 0.5;
/** The weight of a passage that the prompt is not about, and of the one that it is most about. */
const WEIGHT_FLOOR = 0.01;
const WEIGHT_TOP = 4;
const LONGEST_CONTEXT = 3;

/** How much every passage counts for one prompt. */
export type Focus = Float64Array;

export class NgramModel {
  /** The token before the first of a passage. Never generated. */
  static readonly START = 0;
  /** The token after the last of a passage. It has no text. */
  static readonly END = 1;

  /** Identifies the training text and the model's version: two models with equal fingerprints answer alike. */
  readonly fingerprint: string;
  readonly #relevance: RelevanceIndex;
  readonly #passages: number;
  readonly #texts: string[] = ["", ""];
  readonly #ids = new Map<string, number>();
  /** All passages one after the other, each between START and END. */
  readonly #corpus: Int32Array;
  readonly #passageOf: Int32Array;
  /** Contexts of one, two and three tokens. */
  readonly #contexts: readonly ContextIndex[];

  /**
   * Learns from Markdown or plain texts; passages that occur twice count once.
   *
   * @throws RangeError when the texts hold no sentence
   */
  constructor(documents: readonly string[]) {
    const passages = distinct(documents.flatMap(passagesOf));
    if (passages.length === 0) throw new RangeError("NgramModel: the documents hold no sentence to learn from.");
    this.#passages = passages.length;
    this.#relevance = new RelevanceIndex(passages);

    const pieces = passages.map(({ text }) => tokenize(text));
    const size = pieces.reduce((sum, { length }) => sum + length + 2, 0);
    this.#corpus = new Int32Array(size);
    this.#passageOf = new Int32Array(size);
    let at = 0;
    const append = (token: number, passage: number): void => {
      this.#corpus[at] = token;
      this.#passageOf[at++] = passage;
    };
    pieces.forEach((list, passage) => {
      append(NgramModel.START, passage);
      for (const piece of list) append(this.#intern(piece), passage);
      append(NgramModel.END, passage);
    });

    this.#contexts = indexContexts(this.#corpus, this.#texts.length);
    this.fingerprint = `ngram-${fingerprintOf(this.#texts, this.#corpus)}`;
  }

  /** How many different tokens it knows. */
  get vocabularySize(): number {
    return this.#texts.length;
  }

  /** How many tokens it has learnt from. */
  get trainingTokens(): number {
    return this.#corpus.length;
  }

  textOf(token: number): string {
    return this.#texts[token] ?? "";
  }

  /** The token of a piece, or `undefined` for one that the training text does not have. */
  tokenOf(piece: string): number | undefined {
    return this.#ids.get(piece);
  }

  /** How much each passage counts for this prompt; all alike where none is about it. */
  focusOn(prompt: string): Focus {
    const scores = this.#relevance.scores(prompt);
    if (scores.every((score) => score === 0)) return scores.fill(1);
    // The cube makes the few best passages lead, instead of the many that share one word with the prompt.
    return scores.map((score) => WEIGHT_FLOOR + WEIGHT_TOP * score ** 3);
  }

  /**
   * The tokens that may follow, with probabilities that sum to 1. A text begins with `[NgramModel.START]`; only the last
   * three tokens matter. A context that ends in a token which never had a successor has no candidates.
   */
  after(context: readonly number[], focus: Focus): Candidates {
    const probability = new Map<number, number>();
    for (let length = 1; length <= Math.min(LONGEST_CONTEXT, context.length); length++) {
      const counts = this.#countsAfter(context.slice(-length), focus);
      // A context that never occurred has no longer one that did.
      if (counts.total === 0) break;
      const shorter = length === 1 ? 0 : K / (counts.total + K);
      for (const [token, p] of probability) probability.set(token, p * shorter);
      const scale = (1 - shorter) / counts.total;
      for (const [token, count] of counts.of) probability.set(token, (probability.get(token) ?? 0) + count * scale);
    }
    return { tokens: [...probability.keys()], probabilities: [...probability.values()] };
  }

  /**
   * The order 1: tokens by how often they occur, whatever stands before. The first of a passage don't count, because
   * they have no space before them and can't stand behind another.
   */
  anywhere(focus: Focus): Candidates {
    const counts = new Map<number, number>();
    let total = 0;
    for (let at = 2; at < this.#corpus.length; at++) {
      const token = this.#corpus[at] as number;
      if (token === NgramModel.START || this.#corpus[at - 1] === NgramModel.START) continue;
      const weight = focus[this.#passageOf[at] as number] as number;
      counts.set(token, (counts.get(token) ?? 0) + weight);
      total += weight;
    }
    return { tokens: [...counts.keys()], probabilities: [...counts.values()].map((count) => count / total) };
  }

  #countsAfter(context: readonly number[], focus: Focus): { of: Map<number, number>; total: number } {
    if (focus.length !== this.#passages) throw new Error("bug: a focus made by another model");
    const index = this.#contexts[context.length - 1] as ContextIndex;
    const counts = new Map<number, number>();
    let total = 0;
    for (let at = index.lastPlace(context); at !== -1; at = index.placeBefore(at)) {
      const token = this.#corpus[at] as number;
      const weight = focus[this.#passageOf[at] as number] as number;
      counts.set(token, (counts.get(token) ?? 0) + weight);
      total += weight;
    }
    return { of: counts, total };
  }

  #intern(piece: string): number {
    const known = this.#ids.get(piece);
    if (known !== undefined) return known;
    const id = this.#texts.push(piece) - 1;
    this.#ids.set(piece, id);
    return id;
  }
}

/** The places that follow each context of one length, as chains from the last place back to the first. */
interface ContextIndex {
  lastPlace(context: readonly number[]): number;
  placeBefore(place: number): number;
}

/**
 * A context is known by a number: one token by itself, a longer one by the number of the context without its last
 * token, and that token. The pairs are looked up as `number * vocabulary + token`, far below 2^53.
 */
function indexContexts(corpus: Int32Array, vocabulary: number): ContextIndex[] {
  const extensions: Map<number, number>[] = [];
  // What ends at each place: the number of the context of the current length, or -1 where a passage is too young.
  let endingAt = corpus.slice();
  const indexes: ContextIndex[] = [];

  for (let length = 1; length <= LONGEST_CONTEXT; length++) {
    const last: number[] = [];
    const before = new Int32Array(corpus.length).fill(-1);
    for (let place = 1; place < corpus.length; place++) {
      const context = endingAt[place - 1] as number;
      if (context === -1 || corpus[place] === NgramModel.START) continue;
      before[place] = last[context] ?? -1;
      last[context] = place;
    }
    const known = [...extensions];
    indexes.push({
      placeBefore: (place) => before[place] as number,
      lastPlace: (context) => {
        let number = context[0] ?? -1;
        for (let i = 0; i < known.length; i++) {
          number = (known[i] as Map<number, number>).get(number * vocabulary + (context[i + 1] as number)) ?? -1;
          if (number === -1) return -1;
        }
        return last[number] ?? -1;
      },
    });
    if (length < LONGEST_CONTEXT) {
      const numbers = new Map<number, number>();
      endingAt = extend(corpus, endingAt, vocabulary, numbers);
      extensions.push(numbers);
    }
  }
  return indexes;
}

/** Numbers the contexts that are one token longer than those in `endingAt`; none reaches across passages. */
function extend(corpus: Int32Array, endingAt: Int32Array, vocabulary: number, numbers: Map<number, number>) {
  const longer = new Int32Array(corpus.length).fill(-1);
  for (let place = 1; place < corpus.length; place++) {
    const context = endingAt[place - 1] as number;
    const token = corpus[place] as number;
    if (context === -1 || token === NgramModel.START || token === NgramModel.END) continue;
    const key = context * vocabulary + token;
    let number = numbers.get(key);
    if (number === undefined) numbers.set(key, (number = numbers.size));
    longer[place] = number;
  }
  return longer;
}

function distinct(passages: readonly Passage[]): Passage[] {
  return [...new Map(passages.map((passage) => [passage.text, passage])).values()];
}

function fingerprintOf(texts: readonly string[], corpus: Int32Array): string {
  let hash = hash32(JSON.stringify([MODEL_VERSION, texts]));
  for (const token of corpus) hash = mix32(hash ^ token);
  return hash.toString(16).padStart(8, "0");
}
