import { createLogger, type Logger, type LoggerConfig } from "@vg/logging";

/** A logger and the very texts that it writes. */
export function rawLines(config: LoggerConfig = {}): { logger: Logger; texts: string[] } {
  const texts: string[] = [];
  const logger = createLogger({ level: "trace", ...config, destination: { write: (line) => texts.push(line) } });
  return { logger, texts };
}
