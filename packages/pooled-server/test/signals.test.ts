import { expect, test } from "vitest";
import { startProgram, type Child } from "./support/child.ts";

/** A request that the child is busy with, and may never answer. */
async function begin(child: Child, path: string): Promise<{ text: Promise<string | undefined> }> {
  const text = fetch(`${child.url}${path}`).then(
    (answer) => answer.text(),
    () => undefined,
  );
  await expect
    .poll(async () => (await fetch(`${child.url}/metrics`)).text(), PATIENTLY)
    .toContain("http_server_active_requests 1\n");
  return { text };
}

const PATIENTLY = { timeout: 10_000 };

const states = (child: Child): string[] =>
  [...child.output().matchAll(/"state":"(\w+)"/g)].map(([, state]) => state as string);

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s lets the request under way end, and then the process ends by itself, with 0 and the last line written",
  async (signal) => {
    const child = await startProgram("signalled");
    const { text } = await begin(child, "/slow");
    child.process.kill(signal);
    await expect.poll(() => states(child), PATIENTLY).toContain("draining");
    child.process.stdin?.write("go\n");
    expect(await text).toBe("served");
    expect(await child.ended).toEqual({ code: 0, signal: null });
    expect(states(child)).toEqual(["ready", "draining", "closed"]);
    expect(child.output()).toContain(`"message":"Closing on a signal","signal":"${signal}"`);
    expect(child.output()).toMatch(/"message":"Closed","duration_ms":\d+\}\n$/);
  },
);

test.each([
  ["SIGTERM", 143],
  ["SIGINT", 130],
] as const)("a second signal, %s, ends the process at once with %d", async (signal, code) => {
  const child = await startProgram("signalled");
  await begin(child, "/stuck");
  child.process.kill("SIGTERM");
  await expect.poll(() => states(child), PATIENTLY).toContain("draining");
  child.process.kill(signal);
  expect(await child.ended).toEqual({ code, signal: null });
  expect(states(child)).not.toContain("closed");
});

test("an end that was not clean is exit code 1, and what was stuck is in the last line", async () => {
  const child = await startProgram("signalled", "deaf");
  child.process.kill("SIGTERM");
  expect(await child.ended).toEqual({ code: 1, signal: null });
  expect(child.output()).toMatch(/"stuck":\["deaf: not finished after \d+ ms"\]/);
});

test("a process that something else keeps alive is told what, a while after its server has closed", async () => {
  const child = await startProgram("signalled", "hang");
  child.process.kill("SIGTERM");
  await expect.poll(() => child.output(), { timeout: 15_000 }).toContain("something else keeps the process alive");
  expect(child.output()).toMatch(/"handles":\[[^\]]*"Timeout"/);
  expect(child.process.exitCode).toBeNull();
  // Its signals are its own again.
  child.process.kill("SIGTERM");
  expect(await child.ended).toEqual({ code: null, signal: "SIGTERM" });
});

test("signals are left alone unless the server was asked to handle them", async () => {
  const child = await startProgram("signalled", "unhandled");
  child.process.kill("SIGTERM");
  expect(await child.ended).toEqual({ code: null, signal: "SIGTERM" });
  expect(states(child)).toEqual(["ready"]);
});
