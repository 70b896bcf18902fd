import { isObject, type JsonObject } from "./json.ts";
import { PackedFrames } from "./packed-frames.ts";
import { frameOf, isUsageChunk, type Piece } from "./piece.ts";
import { chunksOfDocument } from "./document-chunks.ts";

export interface Tokens {
  readonly prompt: number;
  readonly completion: number;
}

/**
 * A whole answer as the cache holds it, in bytes that can be served as they are: the document, and the stream's events
 * where the upstream streamed. Where it did not, the events are made of the document when somebody wants them.
 * Its fields are public because the cache weighs a value by what it can see.
 */
export class StoredAnswer {
  /** The JSON document. */
  readonly document: Buffer;
  readonly events: PackedFrames | undefined;
  /** Which of the events are the count of tokens that only some clients get: none or one, but who knows. */
  readonly usageEvents: readonly number[];
  /** By the cache's clock. */
  readonly storedAt: number;
  readonly tokens: Tokens;
  /** What it cost in US dollars; 0 where that is not known. */
  readonly costUsd: number;

  constructor(pieces: readonly Piece[], documentText: string, tokens: Tokens, storedAt: number, costUsd: number = 0) {
    this.document = compact(documentText);
    const streamed = pieces[0]?.kind === "chunk";
    this.events = streamed ? new PackedFrames(pieces.map(({ frame }) => frame)) : undefined;
    this.usageEvents = streamed ? pieces.flatMap(({ isUsage }, i) => (isUsage ? [i] : [])) : [];
    this.storedAt = storedAt;
    this.tokens = tokens;
    this.costUsd = costUsd;
  }

  /** The stream's events without [DONE], each with its frame. */
  frames(includeUsage: boolean): readonly Buffer[] {
    if (this.events === undefined) {
      const chunks = chunksOfDocument(this.parse());
      return chunks
        .filter((chunk) => includeUsage || !isUsageChunk(chunk))
        .map((chunk) => frameOf(JSON.stringify(chunk)));
    }
    const { frames } = this.events.unpack();
    return includeUsage ? frames : frames.filter((_, i) => !this.usageEvents.includes(i));
  }

  parse(): JsonObject {
    return JSON.parse(this.document.toString()) as JsonObject;
  }
}

/** Bytes that keep nothing else alive. */
function compact(text: string): Buffer {
  const bytes = Buffer.alloc(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** What an answer takes when it is served, in bytes: its events where there are any, else its document. */
export function answerBytes(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
}

/** How many tokens an answer says that it took. */
export function tokensOf({ usage }: JsonObject): Tokens {
  const counted = isObject(usage) ? usage : {};
  return { prompt: count(counted["prompt_tokens"]), completion: count(counted["completion_tokens"]) };
}

function count(value: unknown): number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 1e9 ? (value as number) : 0;
}
