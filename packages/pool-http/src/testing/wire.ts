import { Duplex } from "node:stream";
import type { Socket } from "node:net";

/**
 * A socket as a plain stream. A session of HTTP/2 takes a socket's native handle for its own, and a write of anyone else
 * aborts the process when the two meet; of a plain stream it has only what everybody has, so all writes queue up here.
 * The errors of the socket are ends like others.
 */
export class Wire extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on("data", (piece: Buffer) => {
      if (!this.push(piece)) socket.pause();
    });
    socket.once("end", () => this.push(null));
    socket.once("close", () => this.destroy());
    // A client of HTTP/2 that ends has left. What the session would still write after its own end is a failed assertion of
    // Node, which ends the process.
    this.once("end", () => this.destroy());
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(piece: Buffer, _encoding: BufferEncoding, done: () => void): void {
    // Done as soon as the socket takes more: the session waits for it with all else it has to say.
    if (this.#socket.write(piece)) done();
    else this.#socket.once("drain", done);
  }

  /** What a session writes at once leaves at once. */
  override _writev(pieces: readonly { readonly chunk: Buffer }[], done: () => void): void {
    this._write(Buffer.concat(pieces.map(({ chunk }) => chunk)), "utf8", done);
  }

  override _final(done: () => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(_error: Error | null, done: () => void): void {
    this.#socket.destroy();
    done();
  }
}
