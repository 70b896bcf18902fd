// Logs in a span with pino's instrumentation loaded; test/open-telemetry.test.ts reads.
import { trace } from "@opentelemetry/api";
import { createLogger, withContext } from "@vg/logging";
import { pino } from "pino";

const own = pino({ base: null });
const logger = createLogger({ caller: "off", openTelemetry: process.argv[2] as "auto" | "off" });

trace.getTracer("test").startActiveSpan("work", (span) => {
  const { traceId, spanId } = span.spanContext();
  logger.info("span", { traceId, spanId });
  own.info("pino's own");
  logger.info("ours", { user: 7 });
  logger.pino.info({ user: 8 }, "by pino");
  withContext({ trace_id: "explicit" }, () => logger.info("explicit"));
  logger.error("failed", new Error("boom"));
  span.end();
});
logger.info("outside");
const { sentLogs } = globalThis as unknown as { sentLogs(): { body: unknown; severityText: unknown }[] };
logger.info("sent", { logs: sentLogs().map(({ body, severityText }) => [body, severityText]) });
