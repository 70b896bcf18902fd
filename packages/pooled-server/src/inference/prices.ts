import { checkOptions } from "@vg/internal";
import { PooledServerConfigError } from "../errors.ts";
import type { Tokens } from "./stored-answer.ts";

/** What a model's tokens cost, in US dollars for a million of them. */
export interface TokenPrice {
  /** Of the prompt, or of the inputs of embeddings. */
  input: number;
  /** Of the answer; default 0, as embeddings have none. */
  output?: number;
}

const PER_TOKEN = 1e-6;

/** What tokens cost, by model. A model that is not there costs nothing: what is not known is not guessed. */
export class Prices {
  readonly #byModel: ReadonlyMap<string, Required<TokenPrice>>;

  constructor(byModel: ReadonlyMap<string, Required<TokenPrice>>) {
    this.#byModel = byModel;
  }

  get models(): readonly string[] {
    return [...this.#byModel.keys()];
  }

  /** @param names what the model is called, by the request and by the upstream; the first with a price holds */
  costUsd(names: readonly (string | undefined)[], { prompt, completion }: Tokens): number {
    for (const name of names) {
      const price = name === undefined ? undefined : this.#byModel.get(name);
      if (price !== undefined) return (prompt * price.input + completion * price.output) * PER_TOKEN;
    }
    return 0;
  }
}

/** @throws PooledServerConfigError */
export function checkPrices(prices: unknown): Prices {
  const fail = (message: string): Error => new PooledServerConfigError(message);
  // For the words that it has for what is no object at all.
  checkOptions("PooledServer: inference.prices", prices, fail);
  const checked = Object.entries(prices as Readonly<Record<string, unknown>>).map(([model, price]) => {
    const check = checkOptions(`PooledServer: inference.prices[${JSON.stringify(model)}]`, price, fail);
    const hint = "Give US dollars for a million tokens.";
    if (check.raw("input") === undefined) throw check.refuse("input", "a number of at least 0", hint);
    const input = check.number("input", { fallback: 0, hint });
    const output = check.number("output", { fallback: 0, hint });
    check.noOthers();
    return [model, { input, output }] as const;
  });
  return new Prices(new Map(checked));
}
