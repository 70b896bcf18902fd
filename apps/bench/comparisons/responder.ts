import type { Socket } from "node:net";
import type { Answer } from "../harness/contender.ts";
import { BLOBS, blobOf } from "./blobs.ts";
import { documentOf, DOCUMENTS } from "./documents.ts";

const END_OF_HEAD = Buffer.from("\r\n\r\n");
const SPACE = 0x20;
/** Where the path begins. */
const AFTER_GET = "GET ".length;
const NOT_FOUND = Buffer.from("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");

/**
 * Answers GETs on sockets with whole responses that were made beforehand. It reads no more of a request than its path
 * and its end, so that it takes as little of the time, and of the processors, as a server in Node.js can; what is
 * measured is the clients. And it counts what makes a comparison of them fair.
 */
export class Responder {
  readonly #responses = new Map<string, Buffer>();
  /** Goes up with each `take`, so that a socket is counted once in between. */
  #period = 0;
  #served = 0;
  #sockets = 0;
  #pipelined = 0;

  constructor() {
    for (let id = 0; id < DOCUMENTS; id++) {
      this.#responses.set(`/documents/${id}`, response("application/json", Buffer.from(documentOf(id))));
    }
    for (let id = 0; id < BLOBS; id++) {
      this.#responses.set(`/blobs/${id}`, response("application/octet-stream", blobOf(id)));
    }
  }

  /** Since the last call: requests answered, sockets that they came over, and requests that didn't wait for their turn. */
  take(): Answer {
    const seen = { served: this.#served, connections: this.#sockets, pipelined: this.#pipelined };
    this.#period++;
    this.#served = this.#sockets = this.#pipelined = 0;
    return seen;
  }

  readonly accept = (socket: Socket): void => {
    let period = -1;
    let rest: Buffer | undefined;
    // A client that is killed at the end of its case resets its connections.
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      if (period !== this.#period) {
        period = this.#period;
        this.#sockets++;
      }
      let bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      rest = undefined;
      for (let requests = 1; ; requests++) {
        const end = bytes.indexOf(END_OF_HEAD);
        if (end === -1) {
          rest = bytes;
          return;
        }
        if (requests > 1) this.#pipelined++;
        this.#served++;
        socket.write(this.#responseTo(bytes));
        if (end + END_OF_HEAD.length === bytes.length) return;
        bytes = bytes.subarray(end + END_OF_HEAD.length);
      }
    });
  };

  #responseTo(head: Buffer): Buffer {
    const path = head.toString("latin1", AFTER_GET, head.indexOf(SPACE, AFTER_GET));
    return this.#responses.get(path) ?? NOT_FOUND;
  }
}

/** With the headers that any server sends. */
function response(type: string, body: Buffer): Buffer {
  const head = [
    "HTTP/1.1 200 OK",
    `Content-Type: ${type}`,
    `Date: ${new Date().toUTCString()}`,
    "Connection: keep-alive",
    `Content-Length: ${body.length}`,
  ];
  return Buffer.concat([Buffer.from(head.join("\r\n")), END_OF_HEAD, body]);
}
