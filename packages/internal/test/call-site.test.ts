import { expect, test } from "vitest";
import { callSite, callSiteReader } from "../src/index.ts";

function asked() {
  return callSite();
}

test("a call site has the frames of the caller's code, innermost first, and its place", () => {
  const reader = callSiteReader(new URL("../src/index.ts", import.meta.url).href);
  const site = asked();
  const frames = reader.stack(site).split("\n");
  expect(frames[0]).toMatch(/^at asked \(.*call-site\.test\.ts:\d+:\d+\)$/);
  expect(frames[1]).toContain("call-site.test.ts");
  expect(frames.some((frame) => frame.includes("node:"))).toBe(false);
  expect(reader.location(site)).toMatch(/^\/.*\/call-site\.test\.ts:5:10$/);
});

test("the frames of the package itself are left out, unless there are no others", () => {
  const own = callSiteReader(import.meta.url);
  const stack = [
    "Error",
    `    at inside (${import.meta.url}:1:2)`,
    "    at outside (file:///app/main.js:3:4)",
    "    at node:internal/x:5:6",
  ];
  expect(own.stack({ stack: stack.join("\n") })).toBe("at outside (file:///app/main.js:3:4)");
  expect(own.location({ stack: stack.join("\n") })).toBe("/app/main.js:3:4");
  expect(own.stack({ stack: stack.slice(0, 2).join("\n") })).toContain("at inside");
});

test("nothing is known of a site without a stack, and the limit of stacks is left as it was", () => {
  const reader = callSiteReader(import.meta.url);
  expect([reader.stack({}), reader.location({})]).toEqual(["", undefined]);
  const { stackTraceLimit } = Error;
  callSite();
  expect(Error.stackTraceLimit).toBe(stackTraceLimit);
});
