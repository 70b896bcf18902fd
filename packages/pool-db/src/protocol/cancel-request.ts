import { Socket, type TcpNetConnectOpts } from "node:net";
import { TLSSocket } from "node:tls";
import pg from "pg";
import { cancelKeyOf, negotiatesDirectly, remoteAddressOf } from "./pg-client.ts";

const CANCEL_REQUEST_CODE = 80_877_102;

/**
 * What became of a request:
 * - `done`: the server has closed the side connection, which it does when it has signalled the backend;
 * - `unsent`: no request has left, and none will;
 * - `unknown`: it was sent, and may still be on its way.
 */
export type CancelOutcome = "done" | "unsent" | "unknown";

export interface CancelOptions {
  /** The most that all of it takes. */
  timeoutMs: number;
  /** Asked when the side connection stands, just before the request is written; false withdraws it. */
  isWanted?: (() => boolean) | undefined;
  /** Told when the request is written. */
  onSend?: (() => void) | undefined;
  /** The `stream` option that the client was made with. */
  stream?: pg.ClientConfig["stream"];
}

/**
 * Asks the server to cancel what runs on this client's connection: over a connection of its own, as the protocol has it
 * (PostgreSQL documentation, "Canceling Requests in Progress"). Never rejects, and keeps no process alive.
 *
 * The request names the connection, not the query: whatever runs there when it arrives is cancelled. So nobody may use
 * the client before the outcome is known, and after "unknown" nobody may use it at all.
 *
 * The side connection is pg's own kind, made with the client's `ssl` options, so that the secret key never crosses the
 * network in the clear where the client's queries do not; and it goes to the address that the client is connected to,
 * because another one of the same name may be another server.
 */
export function requestCancel(client: pg.Client, options: CancelOptions): Promise<CancelOutcome> {
  const key = cancelKeyOf(client);
  const { timeoutMs, isWanted, onSend, stream } = options;
  // A stream that was handed over ready-made cannot be had twice.
  if (key === undefined || typeof stream === "object") return Promise.resolve("unsent");
  return new Promise((resolve) => {
    let outcome: CancelOutcome = "unsent";
    let side: SideConnection;
    try {
      side = sideConnection(client, stream);
    } catch {
      // Of a `stream` function of the user's.
      resolve(outcome);
      return;
    }
    const finish = (): void => {
      clearTimeout(timer);
      side.stream.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(finish, timeoutMs).unref();
    const send = (): void => {
      if (isWanted?.() === false) return finish();
      outcome = "unknown";
      side.stream.once("end", () => {
        outcome = "done";
        finish();
      });
      // Not ended from here: at unread data (TLS says goodbye), the server's close would be a reset.
      side.stream.write(cancelRequest(key));
      onSend?.();
    };
    // The listener stays: what a socket still says after its end harms nobody.
    side.on("error", finish);
    side.on("end", finish);
    side.on("connect", () => {
      side.stream.unref?.();
      if (!client.ssl) send();
      else if (!negotiatesDirectly(client)) side.requestSsl();
    });
    side.on("sslconnect", () => {
      // Said when the handshake begins.
      if (side.stream instanceof TLSSocket) side.stream.once("secureConnect", send);
      else send();
    });
    try {
      if (client.host.startsWith("/")) side.connect(`${client.host}/.s.PGSQL.${client.port}`);
      else side.connect(client.port, client.host);
    } catch {
      finish();
    }
  });
}

function cancelRequest({ processId, secretKey }: { processId: number; secretKey: Uint8Array }): Buffer {
  const message = Buffer.alloc(12 + secretKey.length);
  message.writeInt32BE(message.length, 0);
  message.writeInt32BE(CANCEL_REQUEST_CODE, 4);
  message.writeInt32BE(processId, 8);
  message.set(secretKey, 12);
  return message;
}

/** What @types/pg leaves out of pg's Connection. */
interface SideConnection extends NodeJS.EventEmitter {
  readonly stream: Socket;
  connect(portOrPath: number | string, host?: string): void;
  requestSsl(): void;
}

function sideConnection(client: pg.Client, stream: pg.ClientConfig["stream"]): SideConnection {
  const config = {
    ssl: client.ssl,
    sslNegotiation: negotiatesDirectly(client) ? "direct" : "postgres",
    stream: stream ?? socketTo(remoteAddressOf(client)),
  };
  return new pg.Connection(config as pg.ConnectionConfig) as unknown as SideConnection;
}

/** A socket that connects to this address, whatever name pg gives it: the name is for the certificate only. */
function socketTo(address: string | undefined): Socket {
  const socket = new Socket();
  if (address === undefined) return socket;
  const connect = Socket.prototype.connect as (this: Socket, options: TcpNetConnectOpts) => Socket;
  return Object.assign(socket, { connect: (port: number) => connect.call(socket, { port, host: address }) });
}
