import { once } from "node:events";
import { connect, type Socket } from "node:net";

interface RawClient {
  readonly socket: Socket;
  /** All that has come, once `wanted` is in it that many times. */
  until(wanted: string, times?: number): Promise<string>;
  /** All that has come, when the connection has ended. */
  readonly closed: Promise<string>;
}

/** A connection whose client writes bytes. */
export async function rawClient(url: string): Promise<RawClient> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  socket.on("error", () => undefined);
  let text = "";
  let isClosed = false;
  socket.on("data", (chunk) => (text += String(chunk)));
  const closed = new Promise<string>((resolve) => {
    socket.on("close", () => {
      isClosed = true;
      resolve(text);
    });
  });
  return {
    socket,
    closed,
    async until(wanted, times = 1) {
      while (text.split(wanted).length <= times) {
        if (isClosed) throw new Error(`The connection ended without ${wanted}; it gave ${text}`);
        await Promise.race([closed, new Promise((resolve) => socket.once("data", resolve))]);
      }
      return text;
    },
  };
}
