/** What an answer took. */
export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** What a model server counts is stored in integers of 32 bits; anything else is not a count. */
export function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 1e9;
}

export function readUsage(value: unknown): Usage | undefined {
  const { prompt_tokens, completion_tokens } = (value ?? {}) as Partial<Usage>;
  if (!isCount(prompt_tokens) || !isCount(completion_tokens)) return undefined;
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** For servers that count nothing in a stream, and for answers that broke off. */
export function estimateUsage(body: Readonly<Record<string, unknown>>, answer: unknown): Usage {
  const prompt_tokens = estimateTokens(JSON.stringify(body["messages"]));
  const completion_tokens = estimateTokens(JSON.stringify(answer ?? ""));
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** Where a server counts no tokens: four characters a token is the usual rule of thumb. */
export function estimateTokens(text: string): number {
  return Math.ceil(text.length / 4);
}
