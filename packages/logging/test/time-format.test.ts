import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";

test.each([
  ["rfc3339", "2001-09-09T01:46:40.999Z"],
  ["unix", 1_000_000_000],
  ["unix_ms", 1_000_000_000_999],
] as const)("%s is rounded down", (timeFormat, time) => {
  const { logger, lines } = captureLogs({ timeFormat, clock: { now: () => 1_000_000_000_999.9 } });
  logger.info("m");
  expect(lines[0]?.time).toBe(time);
});
