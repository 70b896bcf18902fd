/**
 * The client of the access logs' comparison, in a process of its own: so many connections, each of which sends a
 * request, waits for the whole answer, compares it and sends the next. It works on bare sockets with requests that were
 * made beforehand, so that it takes less time than any server.
 */
import { connect, type Socket } from "node:net";
import { EXCHANGES, requestOf } from "./access-log-traffic.ts";

interface Message {
  readonly port: number;
  readonly connections: number;
  readonly requests: number;
}

/** No answer is longer. */
const LONGEST = 4096;

const requests = EXCHANGES.map((exchange) => Buffer.from(requestOf(exchange)));
/** The first right answer to each request: all others must be the same, byte by byte. */
const answers: (Buffer | undefined)[] = EXCHANGES.map(() => undefined);
const sockets: Socket[] = [];

process.on("disconnect", () => process.exit(0));
process.on("message", (message: Message) => {
  load(message).then(
    (result) => process.send?.(result),
    (error: unknown) => process.send?.({ failed: String(error) }),
  );
});

async function load({ port, connections, requests: count }: Message): Promise<{ right: number; wrong: number }> {
  while (sockets.length < connections) sockets.push(await open(port));
  let next = 0;
  let right = 0;
  let wrong = 0;
  const work = async (socket: Socket): Promise<void> => {
    await new Promise<void>((resolve, reject) => {
      const closed = (): void => reject(new Error("the server has closed a connection"));
      let which = 0;
      let held: Buffer | undefined;
      const send = (): void => {
        if (next >= count) {
          socket.off("data", receive);
          socket.off("close", closed);
          resolve();
          return;
        }
        which = next++ % requests.length;
        socket.write(requests[which]!);
      };
      const receive = (chunk: Buffer): void => {
        const bytes = held === undefined ? chunk : Buffer.concat([held, chunk]);
        const verdict = judge(which, bytes);
        held = verdict === "incomplete" ? bytes : undefined;
        if (verdict === "incomplete") return;
        if (verdict === "right") right++;
        else wrong++;
        send();
      };
      socket.on("data", receive);
      socket.on("close", closed);
      send();
    });
  };
  await Promise.all(sockets.slice(0, connections).map(work));
  return { right, wrong };
}

function judge(which: number, bytes: Buffer): "right" | "wrong" | "incomplete" {
  const known = answers[which];
  if (known !== undefined) {
    if (bytes.length < known.length) return "incomplete";
    return bytes.equals(known) ? "right" : "wrong";
  }
  const { status, body } = EXCHANGES[which]!;
  const text = bytes.toString("latin1");
  if (text.startsWith(`HTTP/1.1 ${status} `) && text.endsWith(`\r\n\r\n${body}`)) {
    answers[which] = Buffer.from(bytes);
    return "right";
  }
  return bytes.length < LONGEST ? "incomplete" : "wrong";
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    socket.once("error", reject);
    socket.once("connect", () => {
      // Of its end "close" tells.
      socket.on("error", () => undefined);
      resolve(socket);
    });
  });
}
