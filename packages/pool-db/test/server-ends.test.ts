import type { Socket } from "node:net";
import { expect, test } from "vitest";
import { DbPool } from "../src/index.ts";
import { faultServer, until } from "./support.ts";

const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const AUTHENTICATED = message("R", Buffer.alloc(4));
const READY = message("Z", Buffer.from("I"));
const FATAL = message("E", Buffer.from("SFATAL\0C57P01\0Mterminating connection\0\0"));

test("a fatal error of a server that then never closes the connection is the answer, and costs no slot", async () => {
  const server = await faultServer((socket) => {
    let started = false;
    socket.on("data", () => {
      socket.write(started ? FATAL : Buffer.concat([AUTHENTICATED, READY]));
      started = true;
    });
  });
  const pool = new DbPool({ host: "127.0.0.1", port: server.port, user: "u", maxOpenConns: 1, resetTimeoutMs: 50 });
  for (let i = 0; i < 2; i++) await expect(pool.query("select 1")).rejects.toMatchObject({ code: "57P01" });
  const client = await pool.connect();
  await expect(client.query("select 1")).rejects.toMatchObject({ code: "57P01" });
  client.release();
  await until("the connection is given up", () => pool.totalCount === 0);
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 3 });
  await pool.close();
  await server.close();
});

test("a connection that comes back while the server closes it is told of by the pool, as a free one would be", async () => {
  const server = await faultServer((socket) => {
    socket.once("data", () => {
      socket.write(Buffer.concat([AUTHENTICATED, READY]));
    });
  });
  const pool = new DbPool({ host: "127.0.0.1", port: server.port, user: "u" });
  const told: unknown[] = [];
  pool.on("error", (error, from) => void told.push(error.message, from));
  const client = await pool.connect();
  const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
  stream.once("end", () => client.release());
  for (const socket of server.sockets) socket.end();
  await until("the pool has told of it", () => told.length > 0);
  expect(told).toEqual(["Connection terminated unexpectedly", client]);
  expect(pool.getStats()).toMatchObject({ in_use: 0, open_connections: 0, broken_closed: 1 });
  await pool.close();
  await server.close();
});
