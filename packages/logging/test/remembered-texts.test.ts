import { expect, test } from "vitest";
import { rawLines } from "./support/raw-lines.ts";

const clock = { now: () => 0 };
const LONG = `line one\npostgres://user:hunter2@db/orders ${"x".repeat(300)}`;

test("a long text that comes again is the same text again, its secrets hidden", () => {
  const { logger, texts } = rawLines({ clock, caller: "off" });
  logger.info("m", { text: LONG });
  logger.info("m", { text: LONG });
  logger.info("m", { text: `${LONG}!` });
  logger.info("m", { text: LONG });
  expect(texts[1]).toBe(texts[0]);
  expect(texts[3]).toBe(texts[0]);
  expect(texts[2]).not.toBe(texts[0]);
  expect(texts.join("")).not.toContain("hunter2");
});

test("where there is less room for it, a long text that came before is cut all the same", () => {
  const { logger, texts } = rawLines({ clock, caller: "off", maxLineBytes: 1024 });
  logger.info("m", { text: LONG });
  logger.info(LONG, { text: "y".repeat(900) });
  expect(texts[1]?.length).toBeLessThanOrEqual(1024);
  expect(JSON.parse(texts[1] ?? "")).toMatchObject({
    message: expect.stringMatching(/^line one\n.*…\[\d+ characters\]$/s),
  });
});

test("each line has the time and the level of its own", () => {
  let now = 0;
  const { logger, texts } = rawLines({ clock: { now: () => now }, caller: "off" });
  for (now of [5, 5, 6, 1006, 5]) {
    logger.info("m");
    logger.error("m");
  }
  expect(texts.map((text) => /"level":"(\w+)","time":"[^.]*:(\d\d\.\d{3})Z"/.exec(text)?.slice(1).join(" "))).toEqual(
    ["00.005", "00.005", "00.006", "01.006", "00.005"].flatMap((time) => [`info ${time}`, `error ${time}`]),
  );
});

test("a clock that keeps telling an impossible time is replaced each time", () => {
  const { logger, texts } = rawLines({ clock: { now: () => 1e20 }, caller: "off" });
  logger.info("m");
  logger.info("m");
  for (const text of texts) {
    const { time }: { time: string } = JSON.parse(text);
    expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(60_000);
  }
});
