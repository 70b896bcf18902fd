import type { Socket } from "node:net";

/** The longest answer to CONNECT that is read. */
const MAX_HEAD_BYTES = 16 * 1024;

/** Why a proxy gave no tunnel: its status, or what was wrong with its answer. */
export interface TunnelRefusal {
  readonly status: number | undefined;
  readonly detail: string;
}

/**
 * Asks a proxy for a connection to `authority` (RFC 9110, section 9.3.6) and calls `done` once with the outcome, unless
 * the socket fails or closes first, which whoever owns it hears anyway. Time limits are the owner's, too. `serverFirst`:
 * the protocol behind it lets the server speak first, as HTTP/2 does and TLS does not.
 */
export function openTunnel(
  socket: Socket,
  authority: string,
  { authorization, serverFirst }: { authorization: string | undefined; serverFirst: boolean },
  done: (refusal: TunnelRefusal | undefined) => void,
): void {
  let head = "";
  const settle = (refusal: TunnelRefusal | undefined, rest = ""): void => {
    socket.off("data", onData);
    socket.pause();
    if (rest !== "") socket.unshift(Buffer.from(rest, "latin1"));
    done(refusal);
  };
  const onData = (chunk: Buffer): void => {
    head += chunk.toString("latin1");
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) {
      if (head.length > MAX_HEAD_BYTES) settle({ status: undefined, detail: "its answer to CONNECT has no end" });
      return;
    }
    const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |\r)/.exec(head)?.[1]);
    if (Number.isNaN(status)) return settle({ status: undefined, detail: "its answer to CONNECT is no HTTP" });
    if (status < 200 || status > 299) return settle({ status, detail: `it answered ${status} to CONNECT` });
    const rest = head.slice(end + 4);
    if (rest !== "" && !serverFirst) {
      return settle({ status: undefined, detail: "it sent data before it was asked to" });
    }
    settle(undefined, rest);
  };
  socket.on("data", onData);
  const credentials = authorization === undefined ? "" : `proxy-authorization: ${authorization}\r\n`;
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n${credentials}\r\n`);
}
