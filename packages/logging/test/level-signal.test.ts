import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { stepsFrom } from "../src/levels/level-signal.ts";
import { parseLines, runProgram, spawnProgram } from "./support/run.ts";

test("the steps lead from the level to what is more talkative", () => {
  expect(stepsFrom("info")).toEqual(["debug", "trace"]);
  expect(stepsFrom("error")).toEqual(["info", "debug", "trace"]);
  expect(stepsFrom("silent")).toEqual(["info", "debug", "trace"]);
  expect(stepsFrom("debug")).toEqual(["trace"]);
  expect(stepsFrom("trace")).toEqual([]);
});

test("each signal makes the logger more talkative by a step, and then what it was; a line says so", async () => {
  const child = spawnProgram(
    `
    import { createLogger } from "@vg/logging";
    const logger = createLogger({ level: "warn", levels: { db: "error" }, levelSignal: "SIGUSR2" });
    const second = createLogger({ level: "trace", levelSignal: "SIGUSR2", base: { second: true }, sampling: { info: 0 } });
    process.stdin.resume();
    process.stdin.on("end", () => {
      logger.info(process.listenerCount("SIGUSR2") + " listener");
      logger.warn("done", { db: logger.component("db").level });
    });
    logger.warn("ready");
  `,
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => JSON.parse((await lines.next()).value as string) as unknown;
  expect(await next()).toMatchObject({ message: "ready" });
  for (const [from, to] of [
    ["warn", "info"],
    ["info", "debug"],
    ["debug", "trace"],
    ["trace", "warn"],
    ["warn", "info"],
  ]) {
    child.kill("SIGUSR2");
    expect(await next()).toMatchObject({ level: "info", message: "log level changed", from, to, signal: "SIGUSR2" });
    expect(await next()).toMatchObject({ second: true, from: "trace", to: "trace" });
  }
  child.stdin?.end();
  expect(await next()).toMatchObject({ message: "1 listener" });
  expect(await next()).toMatchObject({ message: "done", db: "error" });
  if (child.exitCode === null) await once(child, "exit");
  expect(child.exitCode).toBe(0);
});

test("a logger that was closed, or that nobody holds any more, is left alone by the signal", async () => {
  const { stdout, stderr, code } = await runProgram(
    `
    import { setFlagsFromString } from "node:v8";
    import { runInNewContext } from "node:vm";
    import { createLogger } from "@vg/logging";
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc");
    const closed = createLogger({ levelSignal: "SIGUSR2", base: { closed: true } });
    await closed.close();
    const child = createLogger({ levelSignal: "SIGUSR2", base: { held: "by a child" } }).pino.child({});
    const refs = [];
    for (let i = 0; i < 50; i++) refs.push(new WeakRef(createLogger({ levelSignal: "SIGUSR2", base: { i } }).pino));
    for (let i = 0; i < 3; i++) await new Promise((done) => setTimeout(done, 1)), gc();
    process.stderr.write(String(refs.filter((ref) => ref.deref() !== undefined).length));
    process.on("SIGUSR2", () => clearInterval(alive));
    const alive = setInterval(() => {}, 60_000);
    process.kill(process.pid, "SIGUSR2");
    process.on("exit", () => child.info(closed.level));
  `,
  );
  expect(code).toBe(0);
  expect(Number(stderr)).toBeLessThan(2);
  expect(parseLines(stdout)).toMatchObject([
    { message: "log level changed", held: "by a child", from: "info", to: "debug" },
    { message: "info", held: "by a child" },
  ]);
});
