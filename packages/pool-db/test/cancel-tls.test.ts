import { chmod, mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { createSecureContext, TLSSocket } from "node:tls";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { DbPool, QueryTimeoutError, type DbPoolOptions } from "../src/index.ts";
import { requestCancel } from "../src/protocol/cancel-request.ts";
import { backendPid, faultServer, until } from "./support.ts";
import { certificate, serveTls, type Certificate } from "./tls-server.ts";

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const CANCEL_CODE = Buffer.from([0x04, 0xd2, 0x16, 0x2e]);
const TLS_HANDSHAKE = 0x16;

let server: EmbeddedPostgres;
let trusted: Certificate;
let socketFolder: string;

beforeAll(async () => {
  socketFolder = await mkdtemp(join(tmpdir(), "vg-socket-"));
  // The server may run as another user.
  await chmod(socketFolder, 0o777);
  server = await startEmbeddedPostgres({ settings: { unix_socket_directories: socketFolder } });
  trusted = await serveTls(server);
});

afterAll(async () => {
  await server.stop();
  await rm(socketFolder, { recursive: true });
});

interface Path {
  readonly port: number;
  /** What each connection has brought from the client. */
  readonly received: Buffer[];
  /** Whether further connections are treated as those for CancelRequests. */
  hostile: boolean;
  close(): Promise<void>;
}

/** A path to the server that keeps what it sees. The first connection is the pool's, those after it are for CancelRequests. */
async function recordedPath(onSide?: (socket: Socket) => void): Promise<Path> {
  const received: Buffer[] = [];
  const proxy = await faultServer((socket) => {
    const index = received.push(Buffer.alloc(0)) - 1;
    const record = (chunk: Buffer): void => {
      received[index] = Buffer.concat([received[index] as Buffer, chunk]);
    };
    if (index > 0 && path.hostile && onSide !== undefined) {
      socket.on("data", record);
      return onSide(socket);
    }
    const upstream = connect(server.port, server.host);
    upstream.on("error", () => socket.destroy());
    socket.on("data", record);
    socket.pipe(upstream).pipe(socket);
    socket.on("close", () => upstream.destroy());
  });
  const path = { port: proxy.port, received, hostile: true, close: () => proxy.close() };
  return path;
}

function poolOver(options: DbPoolOptions): DbPool {
  const { user, password } = server;
  return new DbPool({
    user,
    password,
    host: "127.0.0.1",
    database: "postgres",
    maxOpenConns: 1,
    // A loaded machine may need long for a handshake.
    cancelTimeoutMs: 10_000,
    ...options,
  });
}

/** Gives up a query, and says whether the same connection serves the next one. */
async function survivesTimeout(pool: DbPool): Promise<boolean> {
  const pid = await backendPid(pool);
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 30 })).rejects.toThrow(QueryTimeoutError);
  return (await backendPid(pool)) === pid;
}

/** Gives up a query, and says whether that closed the connection and the pool recovered. */
async function losesConnection(pool: DbPool, path: Path): Promise<boolean> {
  const pid = await backendPid(pool);
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 30 })).rejects.toThrow(QueryTimeoutError);
  await until("the slot is free", () => pool.getStats().open_connections === 0);
  expect(pool.getStats()).toMatchObject({ in_use: 0, broken_closed: 1 });
  path.hostile = false;
  return (await backendPid(pool)) !== pid;
}

for (const host of ["127.0.0.1", "localhost"]) {
  for (const sslnegotiation of ["postgres", "direct"] as const) {
    test(`a CancelRequest goes over TLS, sslnegotiation=${sslnegotiation}, to ${host}, verified as the connection is`, async () => {
      const path = await recordedPath();
      const pool = poolOver({ host, port: path.port, ssl: { ca: trusted.cert }, sslnegotiation });
      expect(await pool.queryRow("select ssl from pg_stat_ssl where pid = pg_backend_pid()")).toEqual({ ssl: true });
      expect(await survivesTimeout(pool)).toBe(true);
      expect(path.received.length).toBeGreaterThanOrEqual(2);
      for (const bytes of path.received) {
        const hello = sslnegotiation === "direct" ? bytes : bytes.subarray(SSL_REQUEST.length);
        if (sslnegotiation === "postgres") expect(bytes.subarray(0, SSL_REQUEST.length)).toEqual(SSL_REQUEST);
        expect(hello[0]).toBe(TLS_HANDSHAKE);
        // The name of the server is sent where it is one; never an address.
        expect(hello.includes("localhost")).toBe(host === "localhost");
        expect(bytes.includes(CANCEL_CODE)).toBe(false);
      }
      await pool.close();
      await path.close();
    });
  }
}

test("where the server is said to have no TLS for the side connection, the key is not sent in the clear", async () => {
  const path = await recordedPath((socket) => socket.once("data", () => socket.write("N")));
  const pool = poolOver({ port: path.port, ssl: { ca: trusted.cert }, cancelTimeoutMs: 200 });
  expect(await losesConnection(pool, path)).toBe(true);
  expect(path.received[1]).toEqual(SSL_REQUEST);
  await pool.close();
  await path.close();
});

test("a stranger on the side connection, who has another certificate, does not get the key", async () => {
  const other = await certificate();
  const heardWith = async (ssl: NonNullable<DbPoolOptions["ssl"]>): Promise<Buffer[]> => {
    const heard: Buffer[] = [];
    const path = await recordedPath((socket) =>
      socket.once("data", () => {
        socket.removeAllListeners("data");
        socket.write("S");
        const secured = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext(other) });
        secured.on("error", () => undefined);
        secured.on("data", (chunk: Buffer) => heard.push(chunk));
      }),
    );
    const pool = poolOver({ port: path.port, ssl, cancelTimeoutMs: 500 });
    expect(await losesConnection(pool, path)).toBe(true);
    await pool.close();
    await path.close();
    return heard;
  };
  expect(await heardWith({ ca: trusted.cert })).toEqual([]);
  // Where nothing is verified the stranger hears it, so the test would notice.
  const heard = await heardWith({ rejectUnauthorized: false });
  expect(heard[0]?.subarray(4, 8)).toEqual(CANCEL_CODE);
});

test("a TLS handshake that gets stuck on the side connection costs the connection, and no slot", async () => {
  const path = await recordedPath((socket) => socket.once("data", () => socket.write("S")));
  const pool = poolOver({ port: path.port, ssl: { ca: trusted.cert }, cancelTimeoutMs: 200 });
  expect(await losesConnection(pool, path)).toBe(true);
  await pool.close();
  await path.close();
});

test("over a Unix socket a query that was given up costs no connection either", async () => {
  const pool = poolOver({ host: socketFolder, port: server.port });
  expect(await pool.queryRow("select inet_client_addr() as address")).toEqual({ address: null });
  expect(await survivesTimeout(pool)).toBe(true);
  await pool.close();
});

test("a pool with a stream option of its own dials the side connection through it as well", async () => {
  let made = 0;
  const stream = (): Socket => {
    made++;
    return new pg.Connection().stream as Socket;
  };
  const pool = poolOver({ port: server.port, ssl: { ca: trusted.cert }, stream });
  expect(await survivesTimeout(pool)).toBe(true);
  expect(made).toBeGreaterThanOrEqual(2);
  await pool.close();
});

test("a secret key of any length is sent as it came", async () => {
  const messages: Buffer[] = [];
  const listener = await faultServer((socket) => {
    socket.on("data", (chunk: Buffer) => {
      messages.push(chunk);
      socket.end();
    });
  });
  const secretKey = Buffer.from(Array.from({ length: 32 }, (_, index) => index));
  for (const key of [-2, secretKey]) {
    const client = new pg.Client({ host: "127.0.0.1", port: listener.port });
    expect(await requestCancel(client, { timeoutMs: 10_000 })).toBe("unsent");
    Object.assign(client, { processID: 7, secretKey: key });
    expect(await requestCancel(client, { timeoutMs: 10_000 })).toBe("done");
  }
  expect(messages[0]).toEqual(Buffer.from([0, 0, 0, 16, ...CANCEL_CODE, 0, 0, 0, 7, 255, 255, 255, 254]));
  expect(messages[1]).toEqual(Buffer.from([0, 0, 0, 44, ...CANCEL_CODE, 0, 0, 0, 7, ...secretKey]));
  await listener.close();
});
