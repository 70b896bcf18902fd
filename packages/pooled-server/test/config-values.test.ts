import { readFileSync } from "node:fs";
import { captureLogs } from "@vg/logging/testing";
import { PooledServer, PooledServerConfigError } from "@vg/pooled-server";
import { expect, test } from "vitest";

/** Every option there is, as its interface has it. */
const names = ["../src/config/options.ts", "../src/admission/admission-options.ts"].flatMap((file) => {
  const text = readFileSync(new URL(file, import.meta.url), "utf8");
  return [...text.matchAll(/^ {2}([a-zA-Z]+)\?:/gm)].map(([, name]) => name as string);
});
const numbers = [NaN, -1, 0, 1, 1.5, Infinity, 2 ** 31, 2 ** 53];
const values: unknown[] = [
  null,
  ...numbers,
  "",
  "x",
  [],
  ["x"],
  [1],
  {},
  { a: 1 },
  Symbol("s"),
  1n,
  () => "x",
  true,
  false,
];
/** What the server would write its lines to, ask for the time, or wait for. */
const notServedWith = new Set(["logger", "clock", "postgresDsn"]);

test("whatever an option holds, it is taken, or refused by its name before anything is opened", async () => {
  expect(names.length).toBeGreaterThan(50);
  const wrong: unknown[] = [];
  for (const name of names.filter((each) => !each.startsWith("log") && !notServedWith.has(each))) {
    for (const value of values) {
      try {
        const config = { logger: captureLogs().logger, [name]: value };
        await using server = new PooledServer((_request, response) => void response.end(), config as never);
        await server.listen(0);
      } catch (error) {
        const isOurs = error instanceof PooledServerConfigError;
        if (!isOurs || !/^(PooledServer|The health check)/.test(error.message))
          wrong.push([name, value, String(error)]);
      }
    }
  }
  expect(wrong).toEqual([]);
});
