import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { stat } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, test, vi } from "vitest";
import { descendants, stillRunning } from "../lib/processes.ts";
import { capture, CommandError, run } from "../lib/run.ts";
import { temporaryFolder } from "../lib/temporary-folder.ts";

const LONG_LIVED = fileURLToPath(new URL("fixtures/long-lived.ts", import.meta.url));

describe("a temporary folder", () => {
  test("is its owner's alone and goes at the end of its scope", async () => {
    let path: string;
    {
      await using folder = await temporaryFolder("scripts-test");
      path = folder.path;
      expect((await stat(path)).mode & 0o777).toBe(0o700);
    }
    expect(existsSync(path)).toBe(false);
  });

  test.each(["SIGINT", "SIGTERM"] as const)(
    "goes, and a child ends, when the script is told to end by %s",
    async (signal) => {
      const script = spawn(process.execPath, [LONG_LIVED], { stdio: ["ignore", "pipe", "inherit"] });
      const [line] = (await once(createInterface({ input: script.stdout }), "line")) as [string];
      const { path, child } = JSON.parse(line) as { path: string; child: number };
      const processes = await descendants(script.pid ?? 0);
      expect(processes.map(({ pid }) => pid)).toEqual([script.pid, child]);
      expect(existsSync(path)).toBe(true);

      script.kill(signal);
      const [code] = (await once(script, "exit")) as [number];
      expect(code).toBe(signal === "SIGINT" ? 130 : 143);
      expect(existsSync(path)).toBe(false);
      await vi.waitFor(async () => expect(await stillRunning(processes)).toEqual([]), { timeout: 10_000 });
    },
  );
});

describe("a command", () => {
  test("gives back what it wrote to standard output", async () => {
    expect(await capture(process.execPath, ["-p", "6 * 7"])).toBe("42\n");
  });

  test("that fails says what it was, how it ended, where, and what it printed", async () => {
    const failing = capture("/bin/sh", ["-c", "echo lost; exit 3"], { cwd: "/" });
    const error = await failing.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CommandError);
    expect(error).toMatchObject({ message: "`sh -c echo lost; exit 3` failed with exit code 3 (in /)\nlost" });
  });

  test("that takes longer than it may is told to end, and the error says so", async () => {
    const sleeping = run(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { cwd: "/", timeoutMs: 50 });
    await expect(sleeping).rejects.toThrow(/ did not end within 0\.05 s \(in \/\)$/);
  });

  test("that does not exist fails likewise", async () => {
    await expect(run("no-such-command-here", [])).rejects.toThrow("`no-such-command-here` could not be started");
  });
});
