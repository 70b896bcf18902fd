// Every line below logs where it stands; test/caller.test.ts compares.
import { createLogger, getGlobalLogger } from "@vg/logging";

const logger = createLogger({ caller: process.argv[2] as "off" | "warn" | "all", level: "trace" });
const child = logger.child({ child: true });

logger.info("info"); // line 7
logger.warn("warn"); // line 8
logger.error("error", new Error("x")); // line 9
logger.fatal("fatal"); // line 10
child.warn("child"); // line 11
logger.pino.warn("pino"); // line 12
logger.pino.child({ a: 1 }).fatal({ b: 1 }, "pino child"); // line 13
const { error } = logger;
error("detached"); // line 15
await Promise.resolve();
logger.warn("after await"); // line 17
[1].forEach(() => logger.warn("in a callback")); // line 18
function wrapper(): void {
  logger.warn("in a function"); // line 20
}
wrapper();
await Promise.reject(new Error("no")).catch(logger.error); // line 23: what awaits it
logger.logHttpRequest("GET", "/", 500, 1);
getGlobalLogger().warn("global"); // line 25
