import type { Socket } from "node:net";
import { faultServer } from "./support.ts";
import { READY, Reader, commandComplete, dataRow, int32, message, rowDescription } from "./wire-bytes.ts";

/** What has come from the client up to a Sync, or a simple query. */
export interface Asked {
  /** The letters of the messages. */
  readonly types: string;
  /** The text that was to be parsed, where there was one. */
  readonly text: string;
}

const LOGIN = Buffer.concat([
  message("R", int32(0)),
  message("K", int32(4711), int32(1)),
  message("Z", Buffer.from("I")),
]);

/** An answer to a statement that is parsed, described and executed: one row of one column. */
export function oneRow(value: string): Buffer {
  return Buffer.concat([
    message("1"),
    message("2"),
    rowDescription(["n"]),
    dataRow([value]),
    commandComplete("SELECT 1"),
    READY,
  ]);
}

/** A server that lets everybody in, and answers what it is told to. `undefined` for no answer. */
export async function fakeServer(
  answer: (asked: Asked, socket: Socket) => Buffer | undefined,
): Promise<{ dsn: string; close(): Promise<void> }> {
  const server = await faultServer((socket) => {
    let given = Buffer.alloc(0);
    let loggedIn = false;
    let types = "";
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      given = Buffer.concat([given, bytes]);
      for (;;) {
        const header = loggedIn ? 1 : 0;
        if (given.length < header + 4) return;
        const size = header + given.readInt32BE(header);
        if (given.length < size) return;
        const whole = given.subarray(0, size);
        given = given.subarray(size);
        if (!loggedIn) {
          loggedIn = true;
          socket.write(LOGIN);
          continue;
        }
        const { type, body } = new Reader(whole).message();
        types += type;
        if (type === "P") {
          body.text();
          text = body.text().toString();
        }
        if (type === "Q") text = body.text().toString();
        if (type !== "S" && type !== "Q") continue;
        const reply = answer({ types, text }, socket);
        types = "";
        text = "";
        if (reply !== undefined) socket.write(reply);
      }
    });
  });
  return { dsn: `postgres://user@127.0.0.1:${server.port}/db`, close: () => server.close() };
}
