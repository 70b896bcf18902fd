import * as fc from "fast-check";
import { expect, test } from "vitest";
import { complete, type CompletionEnd, type CompletionRequest } from "../../src/upstream/completion.ts";
import { BUILT_IN_CORPUS } from "../../src/upstream/corpus.ts";
import { passagesOf } from "../../src/upstream/documents.ts";
import { NgramModel } from "../../src/upstream/ngram-model.ts";
import type { Candidates } from "../../src/upstream/sampler.ts";
import { tokenize } from "../../src/upstream/tokenizer.ts";

const builtIn = new NgramModel([BUILT_IN_CORPUS]);

function run(
  model: NgramModel,
  request: Partial<CompletionRequest>,
): CompletionEnd & { text: string; steps: string[] } {
  const steps: string[] = [];
  const generator = complete(model, {
    prompt: "",
    maxTokens: 500,
    stop: [],
    seed: 1,
    temperature: 0.8,
    topP: 1,
    topK: 0,
    frequencyPenalty: 0,
    presencePenalty: 0,
    ...request,
  });
  let step = generator.next();
  while (step.done !== true) {
    steps.push(step.value);
    step = generator.next();
  }
  return { ...step.value, steps, text: steps.join("") + step.value.rest };
}

function asMap(model: NgramModel, { tokens, probabilities }: Candidates): Map<string, number> {
  return new Map(tokens.map((token, i) => [model.textOf(token), probabilities[i] as number]));
}

function idsOf(model: NgramModel, text: string): number[] {
  return [NgramModel.START, ...tokenize(text).map((piece) => model.tokenOf(piece) ?? -1)];
}

function about(prompt: string): string {
  return run(builtIn, { prompt, temperature: 0 }).text;
}

test("probabilities after any context of the training text sum to 1", () => {
  const texts = passagesOf(BUILT_IN_CORPUS).map(({ text }) => text);
  fc.assert(
    fc.property(
      fc.constantFrom(...texts),
      fc.nat(),
      fc.constantFrom("", "index", "cache hit rate"),
      (text, cut, prompt) => {
        const ids = idsOf(builtIn, text);
        const { probabilities } = builtIn.after(ids.slice(0, 1 + (cut % ids.length)), builtIn.focusOn(prompt));
        expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 9);
        expect(probabilities.every((p) => p > 0)).toBe(true);
      },
    ),
  );
});

test("the probability interpolates the counts after longer and shorter contexts", () => {
  const model = new NgramModel(["We see one cat now.\n\nWe see one dog now.\n\nThey had one cat here."]);
  const after = asMap(model, model.after(idsOf(model, "We see one"), model.focusOn("")));
  // Order 2 (one): cat 2/3, dog 1/3. Order 3 (see one) and order 4 (We see one): one each; K = 0.5.
  const order3 = (1 + 0.5 * (2 / 3)) / 2.5;
  expect(after.get(" cat")).toBeCloseTo((1 + 0.5 * order3) / 2.5, 12);
  expect(after.get(" dog")).toBeCloseTo(1 - (1 + 0.5 * order3) / 2.5, 12);
});

test("an unseen context backs off to the part of it that was seen", () => {
  const model = new NgramModel(["We see one cat now.\n\nThey had one dog here, too."]);
  const focus = model.focusOn("");
  const after = (text: string): Candidates => model.after(idsOf(model, text).slice(1), focus);
  expect(after("here had one")).toEqual(after(" had one"));
  expect(after("here see had one")).not.toEqual(after(" one"));
  expect(after(" too one")).toEqual(after(" one"));
});

test("no context reaches from one passage into the next", () => {
  const model = new NgramModel(["It ends in this word.\n\nThe other one starts here anew."]);
  const end = model.after(idsOf(model, "It ends in this word."), model.focusOn(""));
  expect(end.tokens).toEqual([NgramModel.END]);
});

test("a prompt makes the passages that it is about count for more", () => {
  const start = [NgramModel.START];
  const text = "Cats sleep all day long, mostly.\n\nDogs bark at the moon, often.";
  const model = new NgramModel([text]);
  const share = (prompt: string): number =>
    asMap(model, model.after(start, model.focusOn(prompt))).get("Dogs") as number;
  expect(share("")).toBe(0.5);
  expect(share("unknown words alone")).toBe(0.5);
  expect(share("why does my dog bark?")).toBeGreaterThan(0.95);
  expect(share("a cat that sleeps")).toBeLessThan(0.05);
});

test("an answer is about the question", () => {
  expect(about("What is an index?")).toMatch(/index/u);
  expect(about("How does HNSW find the nearest vectors?")).toMatch(/HNSW|vector/u);
  expect(about("How large should a connection pool be?")).toMatch(/pool/u);
  expect(about("Why is the mean latency misleading?")).toMatch(/average|mean/u);
});

test("the same seed and prompt give the same text, and other seeds give others", () => {
  const texts = Array.from({ length: 12 }, (_, seed) => run(builtIn, { prompt: "index", seed, temperature: 1 }).text);
  const again = Array.from({ length: 12 }, (_, seed) => run(builtIn, { prompt: "index", seed, temperature: 1 }).text);
  expect(again).toEqual(texts);
  expect(new Set(texts).size).toBeGreaterThan(4);
});

test("temperature 0 gives the same text whatever the seed", () => {
  const text = run(builtIn, { prompt: "cache", temperature: 0, seed: 1 }).text;
  expect(run(builtIn, { prompt: "cache", temperature: 0, seed: 99 }).text).toBe(text);
});

test("an answer that comes to its end ends with a sentence and says stop", () => {
  for (let seed = 0; seed < 30; seed++) {
    const { text, finishReason } = run(builtIn, { prompt: "transaction", seed });
    expect(finishReason).toBe("stop");
    expect(text).toMatch(/[.!?]$/u);
  }
});

test("max_tokens cuts at exactly that many tokens and says length", () => {
  const whole = run(builtIn, { prompt: "transaction" });
  for (let maxTokens = 1; maxTokens <= whole.tokens; maxTokens++) {
    const cut = run(builtIn, { prompt: "transaction", maxTokens });
    expect([cut.finishReason, cut.tokens, cut.steps.length]).toEqual(["length", maxTokens, maxTokens - 1]);
    expect(whole.text.startsWith(cut.text)).toBe(true);
    expect(tokenize(cut.text).length).toBe(maxTokens);
  }
  expect(run(builtIn, { prompt: "transaction", maxTokens: whole.tokens + 1 })).toEqual(whole);
});

test("a stop sequence cuts the text that would have come without it", () => {
  const prompts = ["index", "transaction", "cache", "vector", "hello"];
  fc.assert(
    fc.property(
      fc.constantFrom(...prompts),
      fc.nat(50),
      fc.nat(1000),
      fc.integer({ min: 1, max: 12 }),
      (prompt, seed, at, length) => {
        const whole = run(builtIn, { prompt, seed }).text;
        const stop = whole.slice(at % whole.length, (at % whole.length) + length);
        const cut = run(builtIn, { prompt, seed, stop: [stop] });
        expect(cut.text).toBe(whole.slice(0, whole.indexOf(stop)));
        expect(cut.finishReason).toBe("stop");
      },
    ),
  );
});

test("greedy decoding does not walk in circles", () => {
  const model = new NgramModel(["The cat saw the cat saw the cat saw the cat."]);
  const { finishReason, text } = run(model, { temperature: 0, maxTokens: 1000 });
  expect(finishReason).toBe("stop");
  const tokens = tokenize(text);
  const runs = tokens.slice(3).map((_, i) => tokens.slice(i, i + 4).join(""));
  expect(new Set(runs).size).toBe(runs.length);
});

test("where every successor would repeat a run, the text goes on without context", () => {
  const model = new NgramModel(["Go on and on and on and on and on and on with it."]);
  for (let seed = 0; seed < 20; seed++) {
    const { text, tokens } = run(model, { seed, temperature: 2, maxTokens: 200 });
    expect(tokens).toBeGreaterThan(0);
    expect(text.startsWith("Go on")).toBe(true);
  }
  const { tokens, probabilities } = model.anywhere(model.focusOn(""));
  expect(tokens).toContain(NgramModel.END);
  expect(tokens).not.toContain(NgramModel.START);
  expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 9);
});

test("the fingerprint follows from the training text", () => {
  const one = new NgramModel(["A text of some words here."]);
  expect(one.fingerprint).toMatch(/^ngram-[0-9a-f]{8}$/u);
  expect(new NgramModel(["A text of some words here."]).fingerprint).toBe(one.fingerprint);
  expect(new NgramModel(["A text of other words here."]).fingerprint).not.toBe(one.fingerprint);
});

test("texts without a sentence are refused", () => {
  expect(() => new NgramModel(["# Heading only", "```\ncode. of five or six words.\n```"])).toThrow(RangeError);
});
