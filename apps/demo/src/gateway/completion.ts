/** What a model says, whole; what the inference cache holds. */
export interface Completion {
  readonly message: Readonly<Record<string, unknown>>;
  readonly finishReason: string;
  readonly usage: Usage;
  /** Unix seconds when it was made. */
  readonly created: number;
  readonly fallbackUsed: boolean;
}

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** One piece of a completion that is being made, in the form of OpenAI's stream. */
export interface Piece {
  readonly delta: Readonly<Record<string, unknown>>;
  readonly finishReason: string | null;
  readonly usage: Usage | undefined;
}

/**
 * Puts the pieces of a stream together. Texts (content, reasoning, refusal) are joined; tool calls are merged by their
 * index; everything else keeps its last value.
 */
export class CompletionBuilder {
  readonly #message: Record<string, unknown> = { role: "assistant", content: null };
  readonly #toolCalls = new Map<number, Record<string, unknown>>();
  finishReason: string | undefined;
  usage: Usage | undefined;

  add({ delta, finishReason, usage }: Piece): void {
    for (const [name, value] of Object.entries(delta)) {
      if (value === null || value === undefined) continue;
      if (name === "tool_calls" && Array.isArray(value)) this.#addToolCalls(value);
      else if (name === "role" || typeof value !== "string") this.#message[name] = value;
      else this.#message[name] = joined(this.#message[name], value);
    }
    if (finishReason !== null) this.finishReason = finishReason;
    if (usage !== undefined) this.usage = usage;
  }

  get message(): Readonly<Record<string, unknown>> {
    const inOrder = [...this.#toolCalls].toSorted(([a], [b]) => a - b);
    const calls = inOrder.map(([, { index: _index, ...call }]) => call);
    return calls.length === 0 ? this.#message : { ...this.#message, tool_calls: calls };
  }

  #addToolCalls(calls: readonly unknown[]): void {
    for (const [position, call] of calls.entries()) {
      if (call === null || typeof call !== "object") continue;
      const { function: fn, ...rest } = call as { index?: unknown; function?: Record<string, unknown> | null };
      const index = typeof rest.index === "number" ? rest.index : position;
      const known = this.#toolCalls.get(index) ?? {};
      this.#toolCalls.set(index, Object.assign(known, rest));
      if (fn === null || typeof fn !== "object") continue;
      const knownFn = (known["function"] ?? {}) as Record<string, unknown>;
      known["function"] = {
        ...knownFn,
        ...(typeof fn["name"] === "string" ? { name: fn["name"] } : {}),
        arguments: joined(knownFn["arguments"], typeof fn["arguments"] === "string" ? fn["arguments"] : ""),
      };
    }
  }
}

/** Where a server counts no tokens: four characters a token is the usual rule of thumb. */
export function estimateTokens(text: string): number {
  return Math.ceil(text.length / 4);
}

function joined(before: unknown, more: string): string {
  return (typeof before === "string" ? before : "") + more;
}

/**
 * A completion while it is being made: an append-only list of pieces that any number of clients read from its start,
 * each at its own pace.
 */
export class LiveCompletion {
  readonly #pieces: Piece[] = [];
  #ended = false;
  #waiters: (() => void)[] = [];

  append(piece: Piece): void {
    this.#pieces.push(piece);
    this.#wake();
  }

  /** No more pieces will come, whether the completion succeeded or not. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *read(signal: AbortSignal): AsyncGenerator<Piece> {
    for (let i = 0; ;) {
      if (signal.aborted) return;
      if (i < this.#pieces.length) yield this.#pieces[i++] as Piece;
      else if (this.#ended) return;
      else await this.#more(signal);
    }
  }

  #more(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiters.push(wake);
      signal.addEventListener("abort", wake, { once: true });
    });
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }
}
