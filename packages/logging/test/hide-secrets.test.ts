import { hideSecrets } from "@vg/logging";
import { expect, test } from "vitest";

test("hideSecrets does what a logger does with its messages, for words that go elsewhere than into a log", () => {
  expect(hideSecrets("connect to postgres://u:hunter2@h/d failed, password=hunter2")).toBe(
    "connect to postgres://u:[redacted]@h/d failed, password=[redacted]",
  );
  expect(hideSecrets("nothing to hide")).toBe("nothing to hide");
});
