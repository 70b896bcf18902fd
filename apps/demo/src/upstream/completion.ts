import { NgramModel } from "./ngram-model.ts";
import { seededRandom } from "./random.ts";
import { type Candidates, type Sampling, sampleToken } from "./sampler.ts";
import { StopFilter } from "./stop-filter.ts";

/**
 * A run of this many tokens may not come twice in one completion (Paulus et al., 2017): it keeps greedy decoding, which
 * always goes the same way after the same words, from walking in circles.
 */
const NO_REPEAT_SIZE = 4;

export interface CompletionRequest extends Sampling {
  prompt: string;
  /** At least 1. */
  maxTokens: number;
  stop: readonly string[];
  /** The same seed, prompt, settings and model give the same text. */
  seed: number;
}

export interface CompletionEnd {
  /** "stop": the text came to its end or to a stop sequence; "length": to `maxTokens`. */
  readonly finishReason: "stop" | "length";
  /** Tokens sampled; the end of text, which has no text, is not counted. */
  readonly tokens: number;
  /** The text of the last step, and what was held back as the possible beginning of a stop sequence. */
  readonly rest: string;
}

/**
 * Generates an answer, one token a step: every step gives the text that may be passed on, which is empty while a stop
 * sequence may be coming. It knows no time; whoever runs it sets the pace.
 */
export function* complete(model: NgramModel, request: CompletionRequest): Generator<string, CompletionEnd, void> {
  const focus = model.focusOn(request.prompt);
  const random = seededRandom(request.seed);
  const filter = new StopFilter(request.stop);
  const used = new Map<number, number>();
  const runs = new Set<string>();
  const context: number[] = [NgramModel.START];

  for (let tokens = 0; ; tokens++) {
    const fresh = withoutRepeats(model.after(context, focus), context, runs);
    // The end of text repeats nothing, so there is always a candidate.
    const candidates = fresh.tokens.length > 0 ? fresh : withoutRepeats(model.anywhere(focus), context, runs);
    const token = sampleToken(candidates, request, used, random);
    if (token === NgramModel.END) return { finishReason: "stop", tokens, rest: filter.flush() };

    context.push(token);
    used.set(token, (used.get(token) ?? 0) + 1);
    if (context.length > NO_REPEAT_SIZE) runs.add(context.slice(-NO_REPEAT_SIZE).join());
    const { text, stopped } = filter.push(model.textOf(token));
    if (stopped) return { finishReason: "stop", tokens: tokens + 1, rest: text };
    if (tokens + 1 === request.maxTokens) {
      return { finishReason: "length", tokens: tokens + 1, rest: text + filter.flush() };
    }
    yield text;
  }
}

function withoutRepeats(candidates: Candidates, context: readonly number[], runs: ReadonlySet<string>): Candidates {
  const before = context.slice(1 - NO_REPEAT_SIZE).join();
  const keep = candidates.tokens.map((token) => !runs.has(`${before},${token}`));
  if (!keep.includes(false)) return candidates;
  return {
    tokens: candidates.tokens.filter((_, i) => keep[i]),
    probabilities: candidates.probabilities.filter((_, i) => keep[i]),
  };
}
