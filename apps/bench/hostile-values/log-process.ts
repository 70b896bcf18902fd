/**
 * Logs one hostile value with one logger, on the process's own standard output, and tells its parent what the call threw.
 *
 *     node log-process.ts <logger> <number of the case>
 */
import { HOSTILE_CASES, type HostileCase } from "../../../packages/logging/test/support/hostile-cases.ts";

type Log = (one: HostileCase, value: unknown) => void | Promise<void>;

/** Each as its documentation has it for JSON lines with errors in them, on standard output. */
const LOGGERS: Record<string, (isConsole: boolean) => Promise<Log>> = {
  "@vg/logging": async (isConsole) => {
    const { createLogger } = await import("@vg/logging");
    const logger = createLogger({ format: isConsole ? "console" : "json" });
    return (one, value) => {
      if (one.as === "fields") logger.info("m", value as object);
      else if (one.as === "error") logger.error("m", value);
      else if (one.as === "message" || one.as === "console") logger.info(value as string);
      else logger.info("m", { value });
    };
  },
  pino: async () => {
    const { pino } = await import("pino");
    const logger = pino();
    return (one, value) => {
      if (one.as === "fields") logger.info(value as object, "m");
      else if (one.as === "error") logger.error(value, "m");
      else if (one.as === "message") logger.info(value as string);
      else logger.info({ value }, "m");
    };
  },
  winston: async (isConsole) => {
    const { default: winston } = await import("winston");
    const { combine, errors, json, simple, timestamp } = winston.format;
    const logger = winston.createLogger({
      format: combine(errors({ stack: true, cause: true }), timestamp(), isConsole ? simple() : json()),
      transports: [new winston.transports.Console()],
    });
    return (one, value) => {
      if (one.as === "fields") logger.info("m", value);
      else if (one.as === "error") logger.error(value as Error);
      else if (one.as === "message" || one.as === "console") logger.info(value as string);
      else logger.info("m", { value });
    };
  },
  "@logtape/logtape": async (isConsole) => {
    const { configure, getConsoleSink, getJsonLinesFormatter, getLogger, getTextFormatter } =
      await import("@logtape/logtape");
    const formatter = isConsole ? getTextFormatter() : getJsonLinesFormatter();
    await configure({
      sinks: { console: getConsoleSink({ formatter }) },
      loggers: [
        { category: "m", lowestLevel: "info", sinks: ["console"] },
        { category: ["logtape", "meta"], lowestLevel: "fatal", sinks: [] },
      ],
    });
    const logger = getLogger("m");
    return (one, value) => {
      if (one.as === "fields") logger.info("m", value as Record<string, unknown>);
      else if (one.as === "error") logger.error("m", { error: value });
      else if (one.as === "message" || one.as === "console") logger.info(value as string);
      else logger.info("m", { value });
    };
  },
};

const [name = "", number = ""] = process.argv.slice(2);
const one = HOSTILE_CASES[Number(number)]!;
const log = await LOGGERS[name]!(one.as === "console");
const value = one.make();
let threw: string | undefined;
try {
  await log(one, value);
} catch (error) {
  threw = (error as Error).message;
}
// What is written later counts too: the parent takes the output until the end.
process.send!({ threw }, () => process.disconnect());
