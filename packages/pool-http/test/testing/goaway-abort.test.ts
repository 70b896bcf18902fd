import { fork } from "node:child_process";
import { once } from "node:events";
import { connect, constants } from "node:http2";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const ROUNDS = 60;
const PROGRAM = fileURLToPath(new URL("../support/goaway-server.ts", import.meta.url));

interface Round {
  /** Of the request for "/ga". */
  readonly status: number | undefined;
  readonly answered: number;
  readonly goAways: readonly (readonly [code: number, lastStream: number])[];
}

/** Five requests at a time on one connection; the one at `place` brings GOAWAY. */
async function burst(url: string, ca: string, place: number): Promise<Round> {
  const client = connect(url, ca === "" ? {} : { ca });
  client.on("error", () => {});
  const goAways: [number, number][] = [];
  client.on("goaway", (code, lastStream) => void goAways.push([code, lastStream]));
  const statuses: (number | undefined)[] = Array.from({ length: 5 });
  const streams = Array.from({ length: 5 }, (_, i) => client.request({ ":path": i === place ? "/ga" : "/" }));
  await Promise.all(
    streams.map((stream, i) => {
      stream.on("error", () => {});
      stream.on("response", (headers) => (statuses[i] = headers[":status"]));
      stream.resume();
      return new Promise((resolve) => stream.once("close", resolve));
    }),
  );
  client.destroy();
  return { status: statuses[place], answered: statuses.filter((status) => status === 200).length, goAways };
}

test.each([
  ["h2", "excluded"],
  ["h2", "answered"],
  ["h2c", "excluded"],
  ["h2c", "answered"],
] as const)(
  "%s: GOAWAY among other answers (its own stream %s) does not abort the server's process",
  async (protocol, which) => {
    const child = fork(PROGRAM, [protocol, which], { execArgv: ["--conditions=@vg/source"] });
    const exit = once(child, "exit");
    try {
      const [{ url, ca }] = (await once(child, "message")) as [{ url: string; ca: string }];
      for (let round = 0; round < ROUNDS && child.exitCode === null && child.signalCode === null; round++) {
        const place = round % 5;
        const outcome = await burst(url, ca, place);
        if (child.exitCode !== null || child.signalCode !== null) break;
        const id = 2 * place + 1;
        const excluded = which === "excluded";
        expect(outcome).toEqual({
          status: excluded ? undefined : 200,
          answered: excluded ? place : place + 1,
          goAways: [[constants.NGHTTP2_NO_ERROR, excluded ? Math.max(0, id - 2) : id]],
        });
      }
      if (child.connected) child.send("end");
      expect(await exit).toEqual([0, null]);
    } finally {
      child.kill();
    }
  },
);
