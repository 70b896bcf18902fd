import type { Logger } from "./options.ts";

/** The same logger, except that nothing it throws reaches the request that it was told about. */
export function harmless(logger: Logger): Logger {
  const level =
    (name: keyof Logger) =>
    (fields: object, message: string): void => {
      try {
        logger[name](fields, message);
      } catch {
        // There is nobody to tell: the logger is what is broken.
      }
    };
  return { debug: level("debug"), info: level("info"), warn: level("warn"), error: level("error") };
}
