import type { IncomingMessage } from "node:http";

/** A request's body, read from its connection when somebody reads, and no faster. */
export class IncomingBody {
  readonly stream: ReadableStream<Uint8Array>;
  readonly #incoming: IncomingMessage;
  #controller: ReadableByteStreamController | undefined;
  #isListening = false;

  constructor(incoming: IncomingMessage) {
    this.#incoming = incoming;
    this.stream = new ReadableStream({
      type: "bytes",
      start: (controller) => void (this.#controller = controller as ReadableByteStreamController),
      pull: () => this.#pull(),
      cancel: () => this.#release(),
    });
  }

  /** Whether nobody has begun to read. */
  get isUntouched(): boolean {
    return !this.#isListening;
  }

  /** All of it, past the stream, which is used up by that. Only for a body that nobody has touched. */
  async readAll(): Promise<Buffer> {
    const incoming = this.#incoming;
    this.#isListening = true;
    this.#controller = undefined;
    const chunks: Buffer[] = [];
    const done = new Promise<void>((resolve, reject) => {
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", resolve);
      incoming.on("error", ignore);
      const onClose = (): void => {
        if (!incoming.readableEnded) reject(cutShort());
      };
      incoming.on("close", onClose);
      if (incoming.destroyed) onClose();
    });
    void this.stream.cancel();
    await done;
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
  }

  /** The answer is complete: nobody is left to read, and the rest must not stand before the connection's next request. */
  leave(): void {
    // What nobody has touched node drops by itself.
    if (!this.#isListening || this.#controller === undefined) return;
    this.#controller.error(new TypeError("The body can no longer be read: its request has been answered"));
    this.#release();
  }

  #pull(): void {
    const incoming = this.#incoming;
    if (!this.#isListening) {
      this.#isListening = true;
      incoming.on("data", this.#onData);
      incoming.on("end", this.#onEnd);
      // "close" comes after it, and says it; but an error that nobody listens to would end the process.
      incoming.on("error", ignore);
      incoming.on("close", this.#onClose);
      if (incoming.destroyed && !incoming.readableEnded) return this.#onClose();
    }
    incoming.resume();
  }

  readonly #onData = (chunk: Buffer): void => {
    // A copy: the stream takes the memory away from whom it was, and node's lies in a slab that others share.
    this.#controller?.enqueue(new Uint8Array(chunk));
    this.#incoming.pause();
  };

  readonly #onEnd = (): void => {
    const controller = this.#controller;
    this.#detach();
    controller?.close();
    controller?.byobRequest?.respond(0);
  };

  readonly #onClose = (): void => {
    const controller = this.#controller;
    this.#detach();
    controller?.error(cutShort());
  };

  #release(): void {
    this.#detach();
    this.#incoming.resume();
  }

  #detach(): void {
    const incoming = this.#incoming;
    this.#controller = undefined;
    incoming.off("data", this.#onData);
    incoming.off("end", this.#onEnd);
    incoming.off("close", this.#onClose);
  }
}

function ignore(): void {
  // What there is to say is said elsewhere.
}

function cutShort(): TypeError {
  return new TypeError("The client closed the connection before its body was complete");
}
