import { resolveConfig, type LoggerConfig } from "./config.ts";
import { createConsoleFormat, wantsColor } from "./console-format.ts";
import { createLineContext } from "./context/line-context.ts";
import { openDestination } from "./destination.ts";
import { LEVEL_NUMBERS } from "./levels.ts";
import { LineWriter } from "./line/line-writer.ts";
import { createRedactor } from "./line/redact.ts";
import { createTimestamp } from "./line/time.ts";
import type { LineHooks } from "./line-hooks.ts";
import type { Logger } from "./logger.ts";
import { followSignal } from "./levels/level-signal.ts";
import { createPinoCore } from "./pino-core.ts";
import { safeNow } from "./safe-now.ts";
import { VgLogger } from "./vg-logger.ts";
import { createVolumeControl } from "./volume/volume-control.ts";

/** What a Date can hold. A clock may tell any number. */
const LATEST_DATE_MS = 8.64e15;

/**
 * Makes a logger. By default: JSON lines from `info` up, on standard output, written before the call returns.
 *
 * @throws LoggerConfigError for an option that makes no sense
 * @throws LoggerDestinationError when the file can't be opened
 */
export function createLogger(config: LoggerConfig = {}): Logger {
  return createLoggerThatWarns(config, []);
}

/**
 * Makes a logger, whose first lines are these warnings. Its level does not hide them, unless it is `silent`, and they
 * have no caller, which would be a place in this package.
 */
export function createLoggerThatWarns(config: LoggerConfig, warnings: readonly string[]): Logger {
  const settings = resolveConfig(config);
  const destination = openDestination(settings);
  const redactor = createRedactor(settings.redact);
  const lines = new LineWriter(settings.limits, redactor);
  const present =
    settings.format === "console" ? createConsoleFormat(wantsColor(settings.color, settings.destination)) : undefined;
  const timestamp = createTimestamp(settings.timeFormat, settings.clock);
  const ambient = createLineContext(lines, settings.openTelemetry === "auto");
  const hooks: LineHooks = { gate: undefined, template: undefined, ambient };
  const core = createPinoCore({ settings, lines, timestamp, destination, hooks, present });
  const volume = createVolumeControl(settings, safeNow(settings.clock), (message, fields) =>
    core.say(LEVEL_NUMBERS.warn, message, fields),
  );
  if (settings.level !== "silent") {
    destination.reportDropsWith(({ dropped, since, reason }) => {
      const fields = {
        "log.dropped": dropped,
        "log.dropped_since": new Date(Math.min(since, LATEST_DATE_MS)).toISOString(),
        "log.dropped_reason": reason,
      };
      core.say(LEVEL_NUMBERS.warn, "log lines were dropped", fields);
    });
    for (const warning of warnings) core.say(LEVEL_NUMBERS.warn, warning, {});
  }
  hooks.gate = volume?.gate;
  const unfollow = settings.levelSignal === undefined ? undefined : followSignal(settings.levelSignal, core);
  return new VgLogger({ core, lines, redactor, destination, hooks, volume, unfollow }, core.root);
}
