import { InferenceRequestError, InferenceUpstreamError } from "./inference-error.ts";
import { isObject, type JsonObject } from "./json.ts";

/** A vector as it came: exact, so that who asks later gets the figures that the first one got. */
export type Vector = Float32Array | Float64Array;

/** One input of an embeddings request: a text, or its tokens. */
export type EmbeddingInput = string | readonly number[];

/** As OpenAI's API. */
const MAX_INPUTS = 2_048;

/** The inputs of a request, which may be one text, one array of tokens, or an array of either. */
export function inputsOf({ input }: JsonObject): readonly EmbeddingInput[] {
  const inputs: unknown[] = Array.isArray(input) && !input.every(isToken) ? input : [input];
  const whole = inputs.length > 0 && inputs.length <= MAX_INPUTS;
  if (!whole || !inputs.every(isInput)) {
    throw new InferenceRequestError(
      `input must be a text, an array of token ids, or an array of 1 to ${MAX_INPUTS} of these.`,
      { param: "input" },
    );
  }
  return inputs;
}

function isInput(value: unknown): value is EmbeddingInput {
  return typeof value === "string" || (Array.isArray(value) && value.length > 0 && value.every(isToken));
}

function isToken(value: unknown): boolean {
  return Number.isInteger(value);
}

export type EmbeddingEncoding = "float" | "base64";

export function encodingOf({ encoding_format: format }: JsonObject): EmbeddingEncoding {
  if (format === undefined || format === null) return "float";
  if (format === "float" || format === "base64") return format;
  throw new InferenceRequestError("encoding_format must be float or base64.", { param: "encoding_format" });
}

/**
 * The vectors of an upstream's document, in the order of what it was asked.
 *
 * @throws InferenceUpstreamError where one is missing, doubled or none
 */
export function vectorsOf(document: JsonObject, expected: number): Vector[] {
  const items: unknown[] = Array.isArray(document["data"]) ? document["data"] : [];
  const vectors: (Vector | undefined)[] = Array.from({ length: expected });
  for (const [position, item] of items.entries()) {
    const { index = position, embedding } = isObject(item) ? item : {};
    const vector = vectorOf(embedding);
    const fits = typeof index === "number" && Number.isInteger(index) && index >= 0 && index < expected;
    if (vector === undefined || !fits || vectors[index] !== undefined) throw unfit(expected);
    vectors[index] = vector;
  }
  if (!vectors.every((vector) => vector !== undefined)) throw unfit(expected);
  return vectors;
}

function unfit(expected: number): InferenceUpstreamError {
  return new InferenceUpstreamError(`The upstream's answer does not hold one vector for each of ${expected} inputs.`);
}

function vectorOf(embedding: unknown): Vector | undefined {
  if (typeof embedding === "string") {
    const bytes = Buffer.from(embedding, "base64");
    if (bytes.length === 0 || bytes.length % 4 !== 0) return undefined;
    const vector = Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
    return vector.every(Number.isFinite) ? vector : undefined;
  }
  if (!Array.isArray(embedding) || embedding.length === 0) return undefined;
  return embedding.every((value) => Number.isFinite(value)) ? Float64Array.from(embedding as number[]) : undefined;
}

/** A vector as the client wants it: figures, or 32-bit floats, little endian, in base64. */
export function encodeVector(vector: Vector, encoding: EmbeddingEncoding): readonly number[] | string {
  if (encoding === "float") return Array.from(vector);
  const bytes = Buffer.alloc(vector.length * 4);
  for (let i = 0; i < vector.length; i++) bytes.writeFloatLE(vector[i] as number, i * 4);
  return bytes.toString("base64");
}
