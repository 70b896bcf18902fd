import { isObject, own, put, type JsonObject } from "./json.ts";

type Fields = Record<string, unknown>;

/** Fields whose text comes whole, not in pieces: a later piece that repeats one adds nothing to it. */
const WHOLE_TEXTS: ReadonlySet<string> = new Set(["id", "type", "name", "role"]);

/** What the pieces of one choice have come to. */
interface Choice {
  readonly fields: Fields;
  message: Fields | undefined;
  readonly toolCalls: Map<number, Fields>;
}

/**
 * Puts the chunks of a stream together to the document that the same answer is without `stream`, for chat completions
 * and for the older text completions. Texts are joined (content, reasoning, refusal and whatever else comes as text),
 * arrays are appended (logprobs and the like), tool calls are merged by their index, objects field by field; of the rest
 * the last value that is not null holds. Nothing is dropped because it is not known.
 */
export class DocumentBuilder {
  readonly #top: Fields = {};
  readonly #choices = new Map<number, Choice>();

  add(chunk: JsonObject): void {
    for (const [name, value] of Object.entries(chunk)) {
      if (name === "choices" && Array.isArray(value)) {
        // Its place among the fields; the choices come at the end.
        this.#top["choices"] ??= [];
        for (const [position, choice] of value.entries()) {
          if (isObject(choice)) this.#addChoice(choice, position);
        }
      } else if (name !== "obfuscation") {
        // (obfuscation is noise against eavesdroppers, which a stream alone needs)
        keepLast(this.#top, name, value);
      }
    }
  }

  /** The document so far. */
  build(): JsonObject {
    const inOrder = [...this.#choices].toSorted(([a], [b]) => a - b);
    const document: Fields = { ...this.#top, choices: inOrder.map(([index, choice]) => finish(index, choice)) };
    if (document["object"] === "chat.completion.chunk") document["object"] = "chat.completion";
    return document;
  }

  #addChoice(choice: JsonObject, position: number): void {
    const index = typeof choice["index"] === "number" ? choice["index"] : position;
    let known = this.#choices.get(index);
    if (known === undefined) {
      known = { fields: {}, message: undefined, toolCalls: new Map() };
      this.#choices.set(index, known);
    }
    for (const [name, value] of Object.entries(choice)) {
      if (name === "index") continue;
      if (name === "delta") {
        known.message ??= {};
        if (isObject(value)) addDelta(known, known.message, value);
      } else if (name === "text" && typeof value === "string") {
        known.fields["text"] = textOf(known.fields["text"]) + value;
      } else if (name === "logprobs" && isObject(value)) {
        mergeField(known.fields, name, value);
      } else {
        keepLast(known.fields, name, value);
      }
    }
  }
}

function finish(index: number, { fields, message, toolCalls }: Choice): Fields {
  const { finish_reason: reason = null, ...rest } = fields;
  if (message === undefined) return { index, ...rest, finish_reason: reason };
  // Every message has these two, also where a stream leaves one out.
  const whole: Fields = { role: "assistant", content: null };
  for (const [name, value] of Object.entries(message)) put(whole, name, value);
  if (toolCalls.size > 0) {
    whole["tool_calls"] = [...toolCalls].toSorted(([a], [b]) => a - b).map(([, call]) => call);
  }
  return { index, message: whole, ...rest, finish_reason: reason };
}

function addDelta(choice: Choice, message: Fields, delta: JsonObject): void {
  for (const [name, value] of Object.entries(delta)) {
    if (name === "tool_calls" && Array.isArray(value)) {
      message["tool_calls"] ??= [];
      for (const [position, call] of value.entries()) {
        if (isObject(call)) addToolCall(choice.toolCalls, call, position);
      }
    } else {
      mergeField(message, name, value);
    }
  }
}

function addToolCall(calls: Map<number, Fields>, { index, ...call }: JsonObject, position: number): void {
  const place = typeof index === "number" ? index : placeOf(calls, call["id"], position);
  let known = calls.get(place);
  if (known === undefined) {
    known = {};
    calls.set(place, known);
  }
  for (const [name, value] of Object.entries(call)) mergeField(known, name, value);
}

/** Where a call belongs that does not say so: some servers send whole calls, one a chunk, without an index. */
function placeOf(calls: ReadonlyMap<number, Fields>, id: unknown, position: number): number {
  if (typeof id !== "string" || id === "") return calls.size === 0 ? position : Math.max(...calls.keys());
  for (const [place, call] of calls) {
    if (call["id"] === id) return place;
  }
  return calls.size === 0 ? position : Math.max(...calls.keys()) + 1;
}

function keepLast(target: Fields, name: string, value: unknown): void {
  if (value === undefined) return;
  if (value !== null || own(target, name) === undefined) put(target, name, value);
}

function mergeField(target: Fields, name: string, value: unknown): void {
  const known = own(target, name);
  if (value === undefined || value === null) {
    if (known === undefined && value === null) put(target, name, null);
  } else if (typeof value === "string") {
    put(target, name, joined(name, known, value));
  } else if (Array.isArray(value)) {
    const before: unknown[] = Array.isArray(known) ? known : typeof known === "string" ? textParts(known) : [];
    // The array is this builder's own from its first piece on.
    if (before !== known) put(target, name, before);
    for (const item of value) before.push(item);
  } else if (typeof value === "object") {
    const merged = isObject(known) ? (known as Fields) : {};
    if (merged !== known) put(target, name, merged);
    for (const [inner, piece] of Object.entries(value)) mergeField(merged, inner, piece);
  } else {
    put(target, name, value);
  }
}

function joined(name: string, known: unknown, value: string): unknown {
  if (WHOLE_TEXTS.has(name)) return value === "" && typeof known === "string" ? known : value;
  // A content that began as a list of parts goes on as one.
  if (Array.isArray(known)) {
    // The builder's own, as above; a copy for each piece would take the square of their number.
    for (const part of textParts(value)) (known as unknown[]).push(part);
    return known;
  }
  return textOf(known) + value;
}

function textParts(text: string): unknown[] {
  return text === "" ? [] : [{ type: "text", text }];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
