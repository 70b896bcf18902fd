import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Steps } from "../lib/steps.ts";

beforeEach(() => void vi.spyOn(console, "log").mockImplementation(() => undefined));
afterEach(() => void vi.restoreAllMocks());

const withoutTimes = (table: string): string => table.replaceAll(/ *\d+\.\d s/g, " T");

describe("a script's steps", () => {
  test("a step gives back what it made and shows its note and parts in the table", async () => {
    const steps = new Steps();
    const made = await steps.run("pack", async ({ note, part }) => {
      note("2 tarballs");
      part("install", 1234);
      return 2;
    });
    expect(made).toBe(2);
    expect(steps.failed).toBe(false);
    expect(withoutTimes(steps.table()).split("\n").slice(1)).toEqual([
      "pack T  passed   2 tarballs",
      "  install T",
      "all T",
    ]);
  });

  test("a failure names its step, keeps its cause and shows in the table", async () => {
    const steps = new Steps();
    const cause = new Error("no such file");
    const failing = steps.run("build", () => Promise.reject(cause));
    await expect(failing).rejects.toMatchObject({ message: "build failed: no such file", cause });
    expect(steps.failed).toBe(true);
    expect(withoutTimes(steps.table())).toContain("build T  failed");
  });

  test("the time of parts is not counted twice", async () => {
    const steps = new Steps();
    await steps.run("clone", async ({ part }) => part("install", 3_600_000));
    expect(steps.table().split("\n").at(-1)).not.toContain("3600");
  });
});
