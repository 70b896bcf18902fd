import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";

const clock = { now: () => 0 };
const time = "1970-01-01T00:00:00.000Z";

test("logHttpRequest writes http_request at info", () => {
  const { logger, lines } = captureLogs({ clock, caller: "all" });
  logger.logHttpRequest("POST", "/v2/chat/completions", 200, 234, { model: "0x5678-SQLAgent" });
  expect(lines).toEqual([
    {
      level: "info",
      time,
      message: "http_request",
      method: "POST",
      path: "/v2/chat/completions",
      status_code: 200,
      latency_ms: 234,
      model: "0x5678-SQLAgent",
    },
  ]);
});

test("logInference writes inference at info, and its arguments keep their names", () => {
  const { logger, lines } = captureLogs({ clock });
  logger.logInference("phi-3", "sql-agent", 150, 234, false, { domain: "database" });
  expect(lines).toEqual([
    {
      level: "info",
      time,
      message: "inference",
      model: "phi-3",
      domain: "sql-agent",
      tokens_used: 150,
      latency_ms: 234,
      cache_hit: false,
      "field.domain": "database",
    },
  ]);
});

test("logCacheOp writes cache_operation at debug", () => {
  const { logger, lines } = captureLogs({ clock });
  logger.logCacheOp("get", "inference:phi-3:ab12", true, 0.2);
  expect(lines).toEqual([
    {
      level: "debug",
      time,
      message: "cache_operation",
      operation: "get",
      key: "inference:phi-3:ab12",
      hit: true,
      latency_ms: 0.2,
    },
  ]);
});

test("logDbOp writes database_operation at debug", () => {
  const { logger, lines } = captureLogs({ clock });
  logger.logDbOp("select", "users", 3, 12, { query_id: "q1" });
  expect(lines).toEqual([
    {
      level: "debug",
      time,
      message: "database_operation",
      operation: "select",
      table: "users",
      rows_affected: 3,
      latency_ms: 12,
      query_id: "q1",
    },
  ]);
});

test("logModelLoad writes model_load at info", () => {
  const { logger, lines } = captureLogs({ clock });
  logger.logModelLoad("phi-3", "general", 2048, 900, true);
  expect(lines).toEqual([
    {
      level: "info",
      time,
      message: "model_load",
      model: "phi-3",
      domain: "general",
      memory_mb: 2048,
      latency_ms: 900,
      success: true,
    },
  ]);
});

test("they are silent below the level, and take null for no fields", () => {
  const { logger, lines } = captureLogs({ level: "info" });
  logger.logCacheOp("get", "k", true, 1);
  logger.logDbOp("select", "t", 1, 1);
  expect(lines).toHaveLength(0);
  logger.level = "warn";
  logger.logHttpRequest("GET", "/", 200, 1, null);
  logger.logInference("m", "d", 1, 1, true, null);
  logger.logModelLoad("m", "d", 1, 1, true, null);
  expect(lines).toHaveLength(0);
  logger.level = "info";
  logger.logHttpRequest("GET", "/", 200, 1, null);
  expect(lines).toHaveLength(1);
});

test("their arguments hold against the fields that the logger carries", () => {
  const { logger, lines } = captureLogs({ clock });
  logger.withFields({ model: "carried", other: 1 }).logInference("phi-3", "d", 1, 2, true);
  expect(lines[0]).toMatchObject({ model: "phi-3", "field.model": "carried", other: 1 });
});
