import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A connection whose client writes bytes, and may do as it likes. */
export interface Wire {
  readonly socket: Socket;
  send(text: string): void;
  /** All that has come. */
  received(): string;
  /** All that has come, once `wanted` is in it (a text that many times). */
  until(wanted: string | RegExp, times?: number): Promise<string>;
  /** All that has come, when the connection is closed. */
  readonly closed: Promise<string>;
}

export async function wire(url: string): Promise<Wire> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
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
  await once(socket, "connect");
  return {
    socket,
    closed,
    send: (data) => void socket.write(data),
    received: () => text,
    async until(wanted, times = 1) {
      const isThere = (): boolean =>
        typeof wanted === "string" ? text.split(wanted).length > times : wanted.test(text);
      while (!isThere()) {
        if (isClosed) throw new Error(`The connection ended without ${String(wanted)}; it gave ${text}`);
        await Promise.race([closed, new Promise((resolve) => socket.once("data", resolve))]);
      }
      return text;
    },
  };
}

export const GET = (path: string = "/"): string => `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`;

export const POST = (headers: string, path: string = "/"): string =>
  `POST ${path} HTTP/1.1\r\nHost: test\r\n${headers}\r\n\r\n`;
