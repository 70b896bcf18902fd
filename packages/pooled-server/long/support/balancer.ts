import { once } from "node:events";
import { Agent, createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const PROBE_EVERY_MS = 100;
/** A backend that is slow to answer is busy; it says itself when it wants no more. */
const PROBE_TIMEOUT_MS = 2_000;

interface Backend {
  readonly url: string;
  ready: boolean;
  timer: NodeJS.Timeout | undefined;
}

/**
 * As simple as a balancer can be: it asks each backend's `/readyz` every 100 ms, sends requests in turn to those that are
 * ready, over connections that it keeps alive, and tries nothing twice: a request that a backend fails is failed.
 */
export class Balancer {
  readonly #backends = new Set<Backend>();
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 200 });
  readonly #server = createServer((request, response) => this.#forward(request, response));
  #turn = 0;
  /** Requests that no backend took, or that broke, by reason. */
  readonly failures: Map<string, number> = new Map();

  async listen(): Promise<string> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Resolves when the backend is ready. */
  async add(url: string): Promise<Backend> {
    const backend: Backend = { url, ready: false, timer: undefined };
    this.#backends.add(backend);
    await new Promise<void>((resolve) => {
      const probe = (): void => {
        const asked = httpRequest(`${url}/readyz`, { agent: false, timeout: PROBE_TIMEOUT_MS }, (response) => {
          response.resume();
          backend.ready = response.statusCode === 200;
          if (backend.ready) resolve();
        });
        asked.on("error", () => (backend.ready = false));
        asked.on("timeout", () => asked.destroy(new Error("late")));
        asked.end();
      };
      backend.timer = setInterval(probe, PROBE_EVERY_MS);
      probe();
    });
    return backend;
  }

  remove(backend: Backend): void {
    clearInterval(backend.timer);
    this.#backends.delete(backend);
  }

  close(): void {
    for (const backend of this.#backends) this.remove(backend);
    this.#server.close();
    this.#server.closeAllConnections();
    this.#agent.destroy();
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const ready = [...this.#backends].filter((backend) => backend.ready);
    const backend = ready[this.#turn++ % ready.length];
    if (backend === undefined) return this.#fail(request, response, "no backend is ready");
    const forwarded = httpRequest(
      `${backend.url}${request.url}`,
      { agent: this.#agent, method: request.method },
      (answer) => {
        response.writeHead(answer.statusCode as number, {
          "content-type": answer.headers["content-type"] ?? "text/plain",
        });
        answer.pipe(response);
        answer.on("error", () => this.#fail(request, response, "broke in the middle"));
      },
    );
    forwarded.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(
        request,
        response,
        `${error.code ?? error.message}${forwarded.reusedSocket ? " on a kept connection" : ""}`,
      ),
    );
    response.on("close", () => {
      if (!response.writableFinished) forwarded.destroy();
    });
    request.pipe(forwarded);
  }

  #fail(request: IncomingMessage, response: ServerResponse, why: string): void {
    if (response.destroyed) return;
    const reason = `${request.url}: ${why}`;
    this.failures.set(reason, (this.failures.get(reason) ?? 0) + 1);
    if (response.headersSent) response.destroy();
    else response.writeHead(502).end(why);
  }
}
