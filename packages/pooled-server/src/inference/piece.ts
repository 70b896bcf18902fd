import { DocumentBuilder } from "./document-builder.ts";
import { chunksOfDocument } from "./document-chunks.ts";
import { isObject, type JsonObject } from "./json.ts";

/** What an upstream sends at a time: a chunk of a stream, or the whole document where it does not stream. */
export class Piece {
  readonly kind: "chunk" | "document";
  readonly value: JsonObject;
  /** The value as JSON on one line; an upstream's own spelling where there is one. */
  readonly text: string;
  #frame: Buffer | undefined;

  constructor(kind: "chunk" | "document", value: JsonObject, text?: string) {
    this.kind = kind;
    this.value = value;
    this.text = text === undefined || (kind === "chunk" && /[\r\n]/.test(text)) ? JSON.stringify(value) : text;
  }

  /** The chunk as a server-sent event. Made once, however many clients get it. */
  get frame(): Buffer {
    this.#frame ??= frameOf(this.text);
    return this.#frame;
  }

  /** The last chunk of a stream that counts its tokens, which belongs only to who asked for it. */
  get isUsage(): boolean {
    return isUsageChunk(this.value);
  }
}

export const DONE_FRAME: Buffer = Buffer.from("data: [DONE]\n\n");

export function frameOf(text: string): Buffer {
  return Buffer.from(`data: ${text}\n\n`);
}

export function isUsageChunk({ choices, usage }: JsonObject): boolean {
  return isObject(usage) && (choices === undefined || (Array.isArray(choices) && choices.length === 0));
}

/** The pieces of a whole answer as the one document that it is. */
export function documentOf(pieces: readonly Piece[]): { value: JsonObject; text: string } {
  const [first] = pieces;
  if (first?.kind === "document") return first;
  const builder = new DocumentBuilder();
  for (const { value } of pieces) builder.add(value);
  const value = builder.build();
  return { value, text: JSON.stringify(value) };
}

/** The pieces as chunks, whatever the upstream sent. */
export function chunkPieces(pieces: readonly Piece[]): readonly Piece[] {
  const [first] = pieces;
  if (first?.kind !== "document") return pieces;
  return chunksOfDocument(first.value).map((chunk) => new Piece("chunk", chunk));
}
