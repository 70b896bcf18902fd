import type { IncomingMessage, ServerResponse } from "node:http";
import type { PooledServer, RequestContext } from "@vg/pooled-server";
import type { UsageRow, UsageWriter } from "../usage/usage-writer.ts";
import type { Dialect } from "./api-error.ts";
import type { KeyCheck } from "./access.ts";
import type { ChatService } from "./chat-service.ts";
import type { EmbeddingService } from "./embedding-service.ts";

export interface GatewayParts {
  server: PooledServer;
  chat: ChatService;
  embeddings: EmbeddingService;
  /** `undefined` where there is no database. */
  usage: UsageWriter | undefined;
  backendType: string;
  keys: KeyCheck;
  maxBodyBytes: number;
}

/** One call of the API on its way through a handler. */
export interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly context: RequestContext;
  readonly dialect: Dialect;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly parts: GatewayParts;
  /** What the usage row will say; handlers fill in what they learn. */
  readonly usage: Partial<UsageRow>;
  /** The figures of an answer that has begun, should it break off before `usage` has the real ones. */
  partialUsage: (() => Partial<UsageRow>) | undefined;
  readonly startedAt: number;
}
