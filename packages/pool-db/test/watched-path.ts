import { connect, type Socket } from "node:net";
import { faultServer } from "./support.ts";

const CANCEL_REQUEST = 80_877_102;

export interface WatchedPath {
  readonly port: number;
  /** How many CancelRequests have come this way, in the clear. */
  readonly cancels: number;
  close(): Promise<void>;
}

/** A path to a server that tells connections for queries from those for a CancelRequest. */
export async function watchedPath(
  { host, port }: { host: string; port: number },
  does: {
    /** A CancelRequest has come: send it on, or don't. */
    onCancel?: (forward: () => void, socket: Socket) => void;
    /** What the client hears instead of the server's answer to this; `undefined` sends it on. */
    answer?: (message: Buffer) => Buffer | undefined;
  } = {},
): Promise<WatchedPath> {
  let cancels = 0;
  const proxy = await faultServer((socket) => {
    socket.once("data", (first: Buffer) => {
      const forward = (): void => {
        const upstream = connect(port, host);
        upstream.on("error", () => socket.destroy());
        upstream.write(first);
        socket.on("data", (chunk: Buffer) => {
          const own = does.answer?.(chunk);
          if (own === undefined) upstream.write(chunk);
          else socket.write(own);
        });
        upstream.on("data", (chunk) => socket.write(chunk));
        upstream.on("end", () => socket.end());
        socket.on("close", () => upstream.destroy());
      };
      if (first.readInt32BE(4) !== CANCEL_REQUEST) return forward();
      cancels++;
      (does.onCancel ?? ((go) => go()))(forward, socket);
    });
  });
  return {
    port: proxy.port,
    get cancels() {
      return cancels;
    },
    close: () => proxy.close(),
  };
}
