/** pino's name for streams that want to know the level of the line; `pino.multistream` is one. */
export const METADATA: unique symbol = Symbol.for("pino.metadata");

/** Whose line it is, and who counts it when it is dropped. */
export interface LineOwner {
  dropped: number;
  readonly lastLevel?: number;
  readonly lastObj?: unknown;
  readonly lastMsg?: unknown;
  readonly lastTime?: unknown;
  readonly lastLogger?: unknown;
}

/** One descriptor or stream, and all that must be known of it once however many loggers write to it. */
export interface Sink {
  readonly wantsMetadata: boolean;
  readonly lastFailure: string | null;
  write(line: string, owner: LineOwner): void;
  flushSync(): void;
  flush(): Promise<void>;
  close(): Promise<void>;
}

export function codeOf(error: unknown): string {
  const code: unknown = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : "UNKNOWN";
}
