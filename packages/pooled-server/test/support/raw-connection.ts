import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { onTestFinished } from "vitest";

/** A connection that a test speaks HTTP on by hand. */
export interface RawConnection {
  socket: Socket;
  send(text: string): void;
  /** Everything that came so far. */
  received(): string;
  /** Resolves when `pattern` came; rejects when the connection ends before it. */
  until(pattern: RegExp): Promise<string>;
  ended: Promise<void>;
}

export async function rawConnection(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = createConnection(Number(port), hostname);
  onTestFinished(() => void socket.destroy());
  let text = "";
  const ended = new Promise<void>((resolve) => void socket.once("close", () => resolve()));
  socket.on("error", () => undefined);
  socket.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await once(socket, "connect");
  return {
    socket,
    ended,
    send: (data) => void socket.write(data),
    received: () => text,
    until: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!pattern.test(text)) return;
          socket.off("data", look);
          resolve(text);
        };
        socket.on("data", look);
        socket.once("close", () => reject(new Error(`The connection ended without ${pattern}; it said: ${text}`)));
        look();
      }),
  };
}

export const GET = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: test\r\n\r\n`;
