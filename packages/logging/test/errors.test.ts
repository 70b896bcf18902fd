import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";

const shown = (error: unknown): Record<string, unknown> => {
  const { logger, lines } = captureLogs();
  logger.error("m", error);
  return lines[0]?.error as Record<string, unknown>;
};

test("an error is type, message, stack, code and its own fields, in this order", () => {
  const error = Object.assign(new RangeError("too far"), { code: "E_FAR", host: "db", attempts: 3 });
  expect(shown(error)).toEqual({
    type: "RangeError",
    message: "too far",
    stack: error.stack,
    code: "E_FAR",
    host: "db",
    attempts: 3,
  });
  expect(Object.keys(shown(error))).toEqual(["type", "message", "stack", "code", "host", "attempts"]);
});

test("the type is the class where the name was not set", () => {
  class ConnectionLost extends Error {}
  expect(shown(new ConnectionLost("x"))["type"]).toBe("ConnectionLost");
});

test("the chain of causes is kept, with what each carries", () => {
  const root = Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
  const error = new Error("query failed", { cause: new Error("no connection", { cause: root }) });
  expect(shown(error)).toMatchObject({
    message: "query failed",
    cause: { message: "no connection", cause: { message: "refused", code: "ECONNREFUSED" } },
  });
});

test("a cause may be anything", () => {
  expect(shown(new Error("x", { cause: { status: 503 } }))).toMatchObject({ cause: { status: 503 } });
  expect(shown(new Error("x", { cause: "text" }))).toMatchObject({ cause: "text" });
});

test("a circle of causes ends with a mark", () => {
  const error = new Error("a");
  error.cause = new Error("b", { cause: error });
  expect(shown(error)).toMatchObject({ message: "a", cause: { message: "b", cause: "[circular]" } });
});

test("an AggregateError shows its errors", () => {
  expect(shown(new AggregateError([new TypeError("a"), new Error("b")], "all failed"))).toMatchObject({
    type: "AggregateError",
    message: "all failed",
    errors: [{ type: "TypeError", message: "a" }, { message: "b" }],
  });
});

test("an error is shown under any key, at any depth", () => {
  const { logger, lines } = captureLogs();
  logger.info("m", { reason: new Error("a"), list: [new Error("b")], deep: { er: new Error("c") } });
  expect(lines[0]).toMatchObject({
    reason: { message: "a" },
    list: [{ message: "b" }],
    deep: { er: { message: "c" } },
  });
});

test("secrets in messages, stacks and fields of errors are hidden", () => {
  const error = Object.assign(new Error("connect postgres://app:hunter2@db/x failed"), {
    config: { headers: { Authorization: "Bearer abc.def.ghi" } },
    cause: new Error("password=hunter2 was wrong"),
  });
  const { logger, lines } = captureLogs();
  logger.error("m", error);
  expect(JSON.stringify(lines)).not.toMatch(/hunter2|abc\.def/);
  expect(lines[0]?.error).toMatchObject({ message: "connect postgres://app:[redacted]@db/x failed" });
});

test("an error is not changed by being logged", () => {
  const error = new Error("x", { cause: new Error("y") });
  const before = Reflect.ownKeys(error);
  shown(error);
  expect(Reflect.ownKeys(error)).toEqual(before);
});
