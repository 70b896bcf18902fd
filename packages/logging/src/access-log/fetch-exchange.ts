import type { AccessLines, Headers } from "./access-lines.ts";
import { CLIENT_CLOSED_REQUEST, Exchange } from "./exchange.ts";
import { pathOf } from "./target.ts";

/** One request as a `Request` and a `Response`, where no socket is known. */
export class FetchExchange extends Exchange {
  #response: Response | undefined;

  constructor(lines: AccessLines, request: Request) {
    const headers: Headers = Object.fromEntries(request.headers);
    const { url } = request;
    const query = url.indexOf("?");
    const target = pathOf(url) + (query === -1 ? "" : url.slice(query).split("#", 1)[0]);
    super(lines, request, request.method, target, headers, undefined);
    const length = headers["content-length"];
    if (request.body === null) this.requestBytes = 0;
    else if (typeof length === "string" && /^\d{1,15}$/.test(length)) this.requestBytes = Number(length);
  }

  get response(): Response | undefined {
    return this.#response;
  }

  responseHeader(name: string): unknown {
    return this.#response?.headers.get(name);
  }

  /** @returns the response to send, whose body counts what is taken from it */
  watch(response: Response): Response {
    this.#response = response;
    const { body, status } = response;
    // Hono drops the body of an answer to HEAD, which would never end.
    if (body === null || this.method === "HEAD" || status === 101) {
      this.markFirstByte();
      this.responseBytes = 0;
      this.finish(status, true);
      return response;
    }
    const reader = body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.responseBytes = 0;
    const counted = new ReadableStream<Uint8Array>(
      {
        pull: async (controller): Promise<void> => {
          try {
            const { done, value } = await reader.read();
            this.markFirstByte();
            if (!done) {
              this.responseBytes = (this.responseBytes ?? 0) + value.byteLength;
              controller.enqueue(value);
              return;
            }
            controller.close();
            this.finish(status, true);
          } catch (error) {
            this.error ??= error;
            controller.error(error);
            this.finish(500, false);
          }
        },
        cancel: async (reason: unknown): Promise<void> => {
          this.finish(CLIENT_CLOSED_REQUEST, false);
          await reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(counted, response);
  }
}
