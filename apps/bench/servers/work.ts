/** The work that every server of this comparison does: a 1 KiB JSON body is parsed, and 1 KiB of JSON is answered. */
import type { IncomingMessage, ServerResponse } from "node:http";

const KIBIBYTE = 1024;

/** A chat request, filled up to 1 KiB. */
export const QUESTION: string = filled(
  (content) => JSON.stringify({ model: "general", temperature: 0, messages: [{ role: "user", content }] }),
  "What does a connection pool do when all of its connections are in use, and why is that better than to open more? ",
);

const answerTo = (model: string, content: string): string =>
  JSON.stringify({
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1_700_000_000,
    model,
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
    usage: { prompt_tokens: 200, completion_tokens: 150, total_tokens: 350 },
  });

const CONTENT: string = textFor(
  (content) => answerTo("general", content),
  "It lets the caller wait in line until one is free, because a database does less the more connections it has. ",
);

/** What is answered to `QUESTION`. */
export const ANSWER: string = answerTo("general", CONTENT);

/** A listener of node:http, and of every server that is made of one. */
export function answer(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const { model } = JSON.parse(Buffer.concat(chunks).toString()) as { model: string };
    send(response, answerTo(model, CONTENT));
  });
}

/** The whole body as a text. */
export function bodyOf(message: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    message.on("data", (chunk: Buffer) => chunks.push(chunk));
    message.on("end", () => resolve(Buffer.concat(chunks).toString()));
    message.on("error", reject);
  });
}

export function send(response: ServerResponse, body: string): void {
  response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
  response.end(body);
}

function filled(make: (text: string) => string, text: string): string {
  return make(textFor(make, text));
}

function textFor(make: (text: string) => string, text: string): string {
  const room = KIBIBYTE - Buffer.byteLength(make(""));
  return text.repeat(Math.ceil(room / text.length)).slice(0, room);
}
