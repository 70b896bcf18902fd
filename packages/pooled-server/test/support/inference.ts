import { captureLogs } from "@vg/logging/testing";
import {
  createPooledServer,
  type HandlerOptions,
  type HttpForward,
  type InferenceHandler,
  type JsonObject,
  type PooledServer,
  type PooledServerConfig,
} from "@vg/pooled-server";
import { request as httpRequest } from "node:http";
import { onTestFinished } from "vitest";

export interface TestGateway {
  server: PooledServer;
  url: string;
  logs: ReturnType<typeof captureLogs>;
  post(body: unknown, headers?: Record<string, string>, path?: string): Promise<Response>;
}

/** A pooled server whose only endpoints are inferences, on a free port; closed when the test ends. */
export async function gateway(
  forward: HttpForward,
  { config = {}, options = {} }: { config?: PooledServerConfig; options?: HandlerOptions } = {},
): Promise<TestGateway> {
  const logs = captureLogs();
  const server: PooledServer = await createPooledServer(
    (request, response) =>
      request.url?.includes("embeddings") === true ? embeddings(request, response) : completions(request, response),
    { logger: logs.logger, rateLimitPerSecond: 0, shutdownTimeoutMs: 2_000, inferenceCacheMode: "always", ...config },
  );
  const completions: InferenceHandler = server.inference.completions(forward, options);
  const embeddings: InferenceHandler = server.inference.embeddings(forward, options);
  onTestFinished(async () => void (await server.close()));
  const { url } = await server.listen(0);
  return {
    server,
    url,
    logs,
    post: (body, headers = {}, path = "/v1/chat/completions") =>
      fetch(`${url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
  };
}

export const ask = (more: object = {}): JsonObject => ({
  model: "m",
  messages: [{ role: "user", content: "hi" }],
  ...more,
});

export const chunk = (delta: object, finish: string | null = null, more: object = {}): JsonObject => ({
  id: "c1",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...more,
});

export const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
export const usageChunk: JsonObject = { ...chunk({}), choices: [], usage };

/** A whole short stream. */
export const words = (text: string): JsonObject[] => [
  chunk({ role: "assistant", content: "" }),
  ...text.split(/(?<= )/).map((content) => chunk({ content })),
  chunk({}, "stop"),
  usageChunk,
];

export async function* stream(chunks: Iterable<JsonObject>): AsyncGenerator<JsonObject> {
  for (const piece of chunks) yield await Promise.resolve(piece);
}

/** All that comes, in a list. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Chunks that a test lets out by hand. */
export function handStream(): {
  chunks: AsyncIterable<JsonObject>;
  push(...pieces: JsonObject[]): void;
  end(): void;
  fail(error: unknown): void;
} {
  const { readable, writable } = new TransformStream<JsonObject, JsonObject>(undefined, { highWaterMark: 1e6 });
  const writer = writable.getWriter();
  const ignore = (): void => undefined;
  return {
    chunks: readable,
    push: (...pieces) => void pieces.map((piece) => writer.write(piece).catch(ignore)),
    end: () => void writer.close().catch(ignore),
    fail: (error) => void writer.abort(error).catch(ignore),
  };
}

/** The data of every event of a stream, in order. */
export function eventsOf(text: string): string[] {
  return text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.replace(/^data: /, ""));
}

/** A POST whose connection the test may cut: fetch keeps connections, a socket of one's own does not. */
export function postRaw(
  url: string,
  body: unknown,
  onData: (text: string) => void = () => undefined,
): { leave(): void; closed: Promise<void> } {
  const request = httpRequest(`${url}/v1/chat/completions`, {
    method: "POST",
    agent: false,
    headers: { "content-type": "application/json" },
  });
  const closed = new Promise<void>((resolve) => request.on("close", resolve));
  request.on("error", () => undefined);
  request.on("response", (response) =>
    response
      .setEncoding("utf8")
      .on("data", onData)
      .on("error", () => undefined),
  );
  request.end(JSON.stringify(body));
  return { leave: () => void request.destroy(), closed };
}
