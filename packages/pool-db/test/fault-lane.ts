import type { Socket } from "node:net";

const TO_SERVER = {
  Query: "Q",
  Parse: "P",
  Bind: "B",
  Describe: "D",
  Execute: "E",
  Sync: "S",
  Close: "C",
  Terminate: "X",
  Password: "p",
} as const;

const TO_CLIENT = {
  Authentication: "R",
  ParameterStatus: "S",
  BackendKeyData: "K",
  ReadyForQuery: "Z",
  RowDescription: "T",
  DataRow: "D",
  CommandComplete: "C",
  ParseComplete: "1",
  BindComplete: "2",
  ErrorResponse: "E",
} as const;

/** The messages that a test may name; the two directions use some letters for different things. */
export type MessageName = keyof typeof TO_SERVER | keyof typeof TO_CLIENT;

const SSL_REQUEST = 80_877_103;
const CANCEL_REQUEST = 80_877_102;

interface Stop {
  readonly letter: string;
  /** How many of these messages may still pass. */
  passing: number;
  readonly keep: number;
  readonly reached: () => void;
}

/**
 * One direction of a connection through the fault proxy. It forwards bytes as they come, unless it was told to hold,
 * delay or drip them, or to stop at a message. It knows where messages begin (PostgreSQL documentation, 54.7 "Message
 * Formats") until TLS makes them unreadable.
 */
export class Lane {
  /** Every byte leaves so much later than it came. */
  delayMs = 0;
  /** Every byte is a write of its own, in a turn of its own of the event loop: the receiver sees each frame cut everywhere. */
  drips = false;
  /** Bytes that were forwarded. */
  forwarded = 0;
  /** Whether this connection only asks the server to cancel a query. */
  isCancelRequest = false;
  readonly #letters: Readonly<Record<string, string>>;
  readonly #destination: () => Socket;
  /** Called with the reply of one letter to a request for TLS, or with the request itself. */
  readonly #onTls: (letter: string) => void;
  readonly #seen = new Map<string, number>();
  readonly #stops: Stop[] = [];
  readonly #late: { due: number; bytes: Buffer }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #framing: "startup" | "tls reply" | "messages" | "opaque";
  #pending: Buffer = Buffer.alloc(0);
  /** What is left of the message that is being forwarded. */
  #rest = 0;
  #stop: Stop | undefined;
  /** How much of it goes before the stop. */
  #untilStop = Infinity;
  #budget: { left: number; readonly reached: () => void } | undefined;
  #held = false;
  #dripping = false;
  #ended = false;
  #closed = false;

  constructor(direction: "to server" | "to client", destination: () => Socket, onTls: (letter: string) => void) {
    this.#letters = direction === "to server" ? TO_SERVER : TO_CLIENT;
    this.#framing = direction === "to server" ? "startup" : "messages";
    this.#destination = destination;
    this.#onTls = onTls;
  }

  /** How many of these messages have been forwarded, or have begun to be. */
  count(name: MessageName): number {
    return this.#seen.get(this.#letter(name)) ?? 0;
  }

  /** Keeps everything back from now on, the end of the stream included. */
  hold(): void {
    this.#held = true;
  }

  /** Forwards what was kept back, and what comes. */
  resume(): void {
    this.#held = false;
    this.#pump();
  }

  /**
   * Forwards up to the `nth` message of this name from now on, and the first `keep` bytes of it (by default all), then
   * holds. Resolves when it has come to that.
   */
  stopAt(name: MessageName, { nth = 1, keep = Infinity }: { nth?: number; keep?: number } = {}): Promise<void> {
    return new Promise((reached) => {
      this.#stops.push({ letter: this.#letter(name), passing: nth - 1, keep, reached });
    });
  }

  /** Forwards so many more bytes, then holds. Resolves when it has come to that. */
  stopAfter(bytes: number): Promise<void> {
    return new Promise((reached) => {
      this.#budget = { left: bytes, reached };
    });
  }

  /** Does again what it does by itself, and forgets what it was told. */
  heal(): void {
    this.#stops.length = 0;
    this.#stop = undefined;
    this.#untilStop = Infinity;
    this.#budget = undefined;
    this.delayMs = 0;
    this.drips = false;
    this.resume();
  }

  /** Puts bytes into the stream that nobody sent, past everything that is kept back. */
  inject(bytes: Uint8Array): void {
    this.#destination().write(bytes);
  }

  arrived(bytes: Buffer): void {
    if (this.#closed) return;
    if (this.delayMs === 0 && this.#late.length === 0) return this.#accept(bytes);
    this.#late.push({ due: performance.now() + this.delayMs, bytes });
    this.#wait();
  }

  /** The sender has ended; so will the receiver's stream, when everything before it has gone out. */
  end(): void {
    this.#ended = true;
    if (!this.#closed) this.#pump();
  }

  /** There is nobody to forward to any more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#late.length = 0;
    this.#pending = Buffer.alloc(0);
    this.#closed = true;
  }

  expectTlsReply(): void {
    this.#framing = "tls reply";
  }

  becomeOpaque(): void {
    this.#framing = "opaque";
    this.#pump();
  }

  #letter(name: MessageName): string {
    const letter = this.#letters[name];
    if (letter === undefined) throw new Error(`no ${name} goes this way`);
    return letter;
  }

  #wait(): void {
    const next = this.#late[0];
    if (next === undefined || this.#timer !== undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        const now = performance.now();
        while ((this.#late[0]?.due ?? Infinity) <= now) this.#accept((this.#late.shift() as { bytes: Buffer }).bytes);
        this.#wait();
        this.#pump();
      },
      Math.max(0, next.due - performance.now()),
    ).unref();
  }

  #accept(bytes: Buffer): void {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes]);
    this.#pump();
  }

  #pump(): void {
    if (this.#dripping) return;
    if (this.#pending.length > 0 && !this.#held) {
      const destination = this.#destination();
      destination.cork();
      while (!this.#held && !this.#dripping && this.#forward(destination));
      destination.uncork();
    }
    const empty = this.#pending.length === 0 && this.#late.length === 0;
    if (this.#ended && !this.#held && !this.#dripping && empty) this.#destination().end();
  }

  /** Forwards the next piece; false when there is none yet. */
  #forward(destination: Socket): boolean {
    if (this.#budget?.left === 0) {
      this.#held = true;
      this.#budget.reached();
      this.#budget = undefined;
      return false;
    }
    if (this.#rest === 0 && !this.#beginMessage()) return false;
    const limit = Math.min(this.#untilStop, this.#budget?.left ?? Infinity, this.drips ? 1 : Infinity);
    const size = Math.min(this.#pending.length, this.#rest, limit);
    if (size > 0) {
      const piece = this.#pending.subarray(0, size);
      this.#pending = this.#pending.subarray(size);
      this.#rest -= size;
      this.#untilStop -= size;
      if (this.#budget !== undefined) this.#budget.left -= size;
      this.forwarded += size;
      // The receiver may have ended before the sender has heard of it.
      if (destination.writable) destination.write(piece);
    }
    if (this.#stop !== undefined && (this.#untilStop === 0 || this.#rest === 0)) {
      this.#held = true;
      this.#untilStop = Infinity;
      this.#stop.reached();
      this.#stop = undefined;
    } else if (this.drips) {
      this.#dripping = true;
      // By the second turn from now the receiver has had the chance to read.
      setImmediate(() =>
        setImmediate(() => {
          this.#dripping = false;
          this.#pump();
        }),
      );
    }
    return this.#pending.length > 0;
  }

  /** Learns how long the next message is; false while too little of it has come to tell. */
  #beginMessage(): boolean {
    const bytes = this.#pending;
    if (this.#framing === "opaque") {
      this.#rest = bytes.length;
    } else if (this.#framing === "tls reply") {
      if (bytes.length === 0) return false;
      this.#rest = 1;
      this.#framing = "messages";
      this.#onTls(String.fromCharCode(bytes[0] as number));
    } else if (this.#framing === "startup") {
      if (bytes.length < 8) return false;
      this.#rest = bytes.readInt32BE(0);
      const code = bytes.readInt32BE(4);
      if (code === SSL_REQUEST) {
        this.#onTls("?");
      } else {
        this.isCancelRequest = code === CANCEL_REQUEST;
        this.#framing = "messages";
      }
    } else {
      if (bytes.length < 5) return false;
      this.#rest = bytes.readInt32BE(1) + 1;
      this.#meet(String.fromCharCode(bytes[0] as number));
    }
    return true;
  }

  #meet(letter: string): void {
    this.#seen.set(letter, (this.#seen.get(letter) ?? 0) + 1);
    for (const stop of this.#stops) {
      if (stop.letter !== letter || stop.passing-- > 0) continue;
      this.#stops.splice(this.#stops.indexOf(stop), 1);
      this.#stop = stop;
      this.#untilStop = stop.keep;
      return;
    }
  }
}
