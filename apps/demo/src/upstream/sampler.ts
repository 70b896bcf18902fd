/** How one token is chosen from the model's candidates. The names and ranges are those of OpenAI's API. */
export interface Sampling {
  /** 0 takes the likeliest token; 1 follows the model; 2 is wild. */
  temperature: number;
  /** Only the likeliest tokens that make up this share (nucleus sampling, Holtzman et al., 2020); 1 is all. */
  topP: number;
  /** Only this many of the likeliest tokens; 0 is all. */
  topK: number;
  /** Taken from a token's log-probability for every time it was used. */
  frequencyPenalty: number;
  /** Taken from a token's log-probability once it was used. */
  presencePenalty: number;
}

/** Tokens and their probabilities, in step with each other. */
export interface Candidates {
  readonly tokens: readonly number[];
  readonly probabilities: readonly number[];
}

/**
 * Chooses one of the candidates, of which there must be one at least.
 *
 * @param used how often each token occurs in the completion so far
 * @param random a source of numbers in [0, 1); not asked at temperature 0
 */
export function sampleToken(
  { tokens, probabilities }: Candidates,
  sampling: Sampling,
  used: ReadonlyMap<number, number>,
  random: () => number,
): number {
  const { temperature, topP, topK, frequencyPenalty, presencePenalty } = sampling;
  const ranked = tokens.map((token, i) => {
    const uses = used.get(token) ?? 0;
    const penalty = uses === 0 ? 0 : frequencyPenalty * uses + presencePenalty;
    return { token, logit: Math.log(probabilities[i] as number) - penalty };
  });
  // Equal logits go by token, so that the outcome does not hang on the order of the candidates.
  ranked.sort((a, b) => b.logit - a.logit || a.token - b.token);
  const likeliest = ranked[0];
  if (likeliest === undefined) throw new Error("bug: no candidate to sample from");
  if (temperature === 0) return likeliest.token;

  const kept = topK > 0 ? ranked.slice(0, topK) : ranked;
  const weights = kept.map(({ logit }) => Math.exp((logit - likeliest.logit) / temperature));
  const nucleus = topP < 1 ? nucleusSize(weights, topP) : weights.length;

  let total = 0;
  for (let i = 0; i < nucleus; i++) total += weights[i] as number;
  let point = random() * total;
  for (let i = 0; i < nucleus; i++) {
    point -= weights[i] as number;
    if (point < 0) return (kept[i] as { token: number }).token;
  }
  // Rounding may leave the point a hair beyond the last weight.
  return (kept[nucleus - 1] as { token: number }).token;
}

/** How many of the weights, which fall, it takes to reach the share `topP` of their sum; at least one. */
function nucleusSize(weights: readonly number[], topP: number): number {
  const wanted = topP * weights.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  for (let i = 0; i < weights.length; i++) {
    sum += weights[i] as number;
    if (sum >= wanted) return i + 1;
  }
  return weights.length;
}
