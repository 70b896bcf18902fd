import { EMBEDDING_DIMENSIONS } from "../embeddings.ts";
import { countTokens } from "../tokenizer.ts";
import { invalidField } from "./api-error.ts";
import { CONTEXT_TOKENS, parseModel } from "./chat-request.ts";
import { Fields } from "./fields.ts";

const MAX_INPUTS = 2048;

export interface EmbeddingsRequest {
  readonly model: string;
  readonly inputs: readonly string[];
  readonly dimensions: number;
  readonly encoding: "float" | "base64";
  readonly promptTokens: number;
}

/**
 * Checks the body of POST /v1/embeddings.
 *
 * @throws ApiError 400 that names the field, 404 for a model that is not served
 */
export function parseEmbeddingsRequest(
  body: Record<string, unknown>,
  knowsModel: (id: string) => boolean,
): EmbeddingsRequest {
  const fields = new Fields(body);
  const model = parseModel(fields, knowsModel);
  const inputs = parseInputs(fields);
  const encoding = fields.oneOf("encoding_format", ["float", "base64"], "float");
  const dimensions = fields.integer("dimensions", { min: 1, max: EMBEDDING_DIMENSIONS }) ?? EMBEDDING_DIMENSIONS;
  fields.ignore("user");
  fields.noOthers();

  let promptTokens = 0;
  inputs.forEach((input, i) => {
    const tokens = countTokens(input);
    if (tokens > CONTEXT_TOKENS) {
      const message = `This model's context holds ${CONTEXT_TOKENS} tokens, but input ${i} has ${tokens}. Split it.`;
      throw invalidField("input", message, "context_length_exceeded");
    }
    promptTokens += tokens;
  });
  return { model, inputs, dimensions, encoding, promptTokens };
}

function parseInputs(fields: Fields): string[] {
  const value = fields.raw("input");
  const inputs: unknown[] = Array.isArray(value) ? value : [value];
  const texts = inputs.every((input) => typeof input === "string" && input !== "");
  if (inputs.length === 0 || inputs.length > MAX_INPUTS || !texts) {
    throw fields.refuse("input", `a string that is not empty, or an array of 1 to ${MAX_INPUTS} of them`);
  }
  return inputs as string[];
}
