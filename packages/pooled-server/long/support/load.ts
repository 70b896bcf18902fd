import { Agent, request as httpRequest } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { createHistogram } from "@vg/internal";

export interface Answer {
  /** 0 where none came, or not the whole of it. */
  readonly status: number;
  readonly text: string;
}

/** Clients that ask one after the other, each on a connection that it keeps, and what became of their requests. */
export class Load {
  readonly latencyMs: ReturnType<typeof createHistogram> = createHistogram();
  readonly #agent = new Agent({ keepAlive: true });
  readonly #clients: Promise<void>[] = [];
  #over = false;

  /** Starts so many clients; `judge` gets each answer. */
  start(clients: number, url: string, judge: (answer: Answer) => void, pauseMs: number = 0): void {
    for (let i = 0; i < clients; i++) {
      this.#clients.push(
        (async () => {
          while (!this.#over) {
            const startedAt = performance.now();
            const answer = await this.#ask(url);
            if (this.#over && answer.status === 0) return;
            this.latencyMs.record(performance.now() - startedAt);
            judge(answer);
            if (pauseMs > 0) await delay(pauseMs * Math.random());
          }
        })(),
      );
    }
  }

  /** Lets everybody finish what is under way; `atOnce` breaks it off. */
  async end({ atOnce = false }: { atOnce?: boolean } = {}): Promise<void> {
    this.#over = true;
    if (atOnce) this.#agent.destroy();
    await Promise.all(this.#clients);
    this.#agent.destroy();
  }

  #ask(url: string): Promise<Answer> {
    return new Promise((resolve) => {
      let text = "";
      const broken = (): void => resolve({ status: 0, text });
      const request = httpRequest(url, { agent: this.#agent }, (response) => {
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("end", () => resolve({ status: response.complete ? (response.statusCode as number) : 0, text }));
        response.on("error", broken);
      });
      request.on("error", broken);
      request.end();
    });
  }
}
