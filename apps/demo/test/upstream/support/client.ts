import { afterEach } from "vitest";
import { startUpstream, type UpstreamOptions, type UpstreamServer } from "../../../src/upstream/index.ts";

/** What the tests read of the documents; every field may be missing, which is for the test to notice. */
export interface Completion {
  id: string;
  object: string;
  model: string;
  system_fingerprint: string;
  choices: {
    index: number;
    message: { role: string; content: string };
    delta: { role?: string; content?: string };
    finish_reason: string | null;
  }[];
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
}

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

const started: UpstreamServer[] = [];

/** A server without waiting times, unless the options set them; it is closed when the test ends. */
export async function serve(options: UpstreamOptions = {}): Promise<UpstreamServer> {
  const server = await startUpstream({ prefillMsPerToken: 0, decodeMsPerToken: 0, ...options });
  started.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.close({ deadlineMs: 0 })));
});

export function post(
  server: { baseUrl: string },
  path: string,
  body: unknown,
  init: RequestInit = {},
): Promise<Response> {
  return fetch(server.baseUrl + path, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
    ...init,
    headers: { "content-type": "application/json", ...(init.headers as Record<string, string> | undefined) },
  });
}

/** A chat request with the given fields over a small valid one. */
export function chat(server: { baseUrl: string }, fields: object = {}, init: RequestInit = {}): Promise<Response> {
  const body = {
    model: "vg-demo-ngram",
    messages: [{ role: "user", content: "How large should a connection pool be?" }],
    seed: 7,
    ...fields,
  };
  return post(server, "/chat/completions", body, init);
}

export async function json<T>(response: Response): Promise<T> {
  return (await response.json()) as T;
}

/** The payloads of the server-sent events in `text`, which must consist of them. */
export function events(text: string): string[] {
  const blocks = text.split("\n\n");
  if (blocks.pop() !== "") throw new Error("the stream ends inside an event");
  return blocks.map((block) => {
    if (!block.startsWith("data: ") || block.includes("\n")) throw new Error(`not an event: ${block}`);
    return block.slice("data: ".length);
  });
}

/** The chunks of a stream that ends as it should. */
export function chunks(text: string): Completion[] {
  const payloads = events(text);
  if (payloads.pop() !== "[DONE]") throw new Error("the stream does not end with [DONE]");
  return payloads.map((payload) => JSON.parse(payload) as Completion);
}

export function contentOf(all: readonly Completion[]): string {
  return all.map(({ choices }) => choices[0]?.delta.content ?? "").join("");
}
