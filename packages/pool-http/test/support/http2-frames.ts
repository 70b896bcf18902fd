/** HTTP/2 frames as bytes, for what `node:http2` never sends. */
import { createServer, type Socket } from "node:net";
import { listening, type TestServer } from "./fault-server.ts";

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
const PING = 6;
export const GOAWAY = 7;
export const END_STREAM = 1;
export const END_HEADERS = 4;
/** HPACK: ":status: 200", the static table's entry 8. */
export const STATUS_200: Buffer = Buffer.from([0x88]);
/** The same entry's name with a value of its own, without an index: ":status: 103". */
export const STATUS_103: Buffer = Buffer.from([0x08, 3, 0x31, 0x30, 0x33]);

export function frame(type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function numbers(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}

const PREFACE_BYTES = 24;

/** An h2c server that sends its SETTINGS and then what `script` writes for each HEADERS frame that comes. */
export async function rawHttp2Server(
  script: (socket: Socket, stream: number) => void,
  { answersPing = true } = {},
): Promise<TestServer> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.write(frame(SETTINGS, 0, 0));
    let pending = Buffer.alloc(0);
    let preface = true;
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      if (preface) {
        if (pending.length < PREFACE_BYTES) return;
        pending = pending.subarray(PREFACE_BYTES);
        preface = false;
      }
      while (pending.length >= 9 && pending.length >= 9 + pending.readUIntBE(0, 3)) {
        const [type, stream] = [pending[3], pending.readUInt32BE(5)];
        const acknowledges = ((pending[4] ?? 0) & 1) === 1;
        const payload = pending.subarray(9, 9 + pending.readUIntBE(0, 3));
        if (type === PING && !acknowledges && answersPing) socket.write(frame(PING, 1, 0, payload));
        pending = pending.subarray(9 + pending.readUIntBE(0, 3));
        if (type === SETTINGS && !acknowledges) socket.write(frame(SETTINGS, 1, 0));
        if (type === HEADERS) script(socket, stream);
      }
    });
  });
  return listening(server, "http");
}
