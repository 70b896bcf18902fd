import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { onFirstAnswer } from "@vg/internal";

test.each<[string, (socket: PassThrough) => unknown, number[]]>([
  ["a text", (socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n"), [101]],
  ["bytes", (socket) => socket.write(new Uint8Array(Buffer.from("HTTP/1.0 403 Forbidden\r\n"))), [403]],
  ["what is no HTTP", (socket) => socket.write(Buffer.from([1, 2, 3])), [0]],
  ["its last piece", (socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"), [400]],
  ["an end without a word", (socket) => socket.end(() => undefined), []],
])("the status of the first answer is told: %s", (_what, write, wanted) => {
  const socket = new PassThrough();
  const told: number[] = [];
  onFirstAnswer(socket, (status) => void told.push(status));
  write(socket);
  if (!socket.writableEnded) socket.end("HTTP/1.1 500 late");
  expect(told).toEqual(wanted);
});

test("methods that others have put there, before and after, stay, and two may look", () => {
  const socket = new PassThrough();
  const pieces: string[] = [];
  const wrap = (who: string): void => {
    const plain = socket.write.bind(socket);
    socket.write = ((chunk: string) => {
      pieces.push(`${who} ${chunk}`);
      return plain(chunk);
    }) as typeof socket.write;
  };
  const told: string[] = [];
  onFirstAnswer(socket, (status) => void told.push(`inner ${status}`));
  wrap("between");
  onFirstAnswer(socket, (status) => void told.push(`outer ${status}`));
  wrap("around");
  for (const text of ["HTTP/1.1 101 ", "more"]) socket.write(text);
  socket.end("end");
  expect(told).toEqual(["outer 101", "inner 101"]);
  expect(pieces).toEqual(["around HTTP/1.1 101 ", "between HTTP/1.1 101 ", "around more", "between more"]);
  expect(String(socket.read())).toBe("HTTP/1.1 101 moreend");
});
