/** The loggers of the comparison, each in the set-up that its own documentation calls fast. */
import { AsyncLocalStorage } from "node:async_hooks";
import { createWriteStream, writeSync } from "node:fs";
import { Writable } from "node:stream";
import {
  BINDINGS,
  ERROR,
  EVENT,
  FAILURE,
  fieldsOf,
  MESSAGE,
  shownError,
  type Ids,
  type LineKind,
} from "./logging-workload.ts";

/** A logger that writes to a file descriptor. */
export interface LoggerUnderTest {
  /** Writes the line of the i-th request. */
  line(i: number): void;
  flush(): void | Promise<void>;
  /** Writes the lines of one request where they find its ids. */
  within?(ids: Ids, lines: () => void): void;
}

export interface Setup {
  readonly fd: number;
  readonly kind: LineKind;
  /** Whether lines may wait in a buffer of 4096 bytes. */
  readonly buffered: boolean;
}

export type MakeLogger = (setup: Setup) => LoggerUnderTest | Promise<LoggerUnderTest>;

export function loggerMaker(name: string): MakeLogger {
  const make = MAKERS[name];
  if (make === undefined) throw new Error(`no logger ${name}`);
  return make;
}

const MAKERS: Record<string, MakeLogger> = {
  "@vg/logging": (setup) => ours(setup, {}),
  "@vg/logging (redact: false)": (setup) => ours(setup, { redact: false }),
  "@vg/logging (caller: all)": (setup) => ours(setup, { redact: false, caller: "all" }),
  "pino (as it comes)": (setup) => withPino(setup, "default"),
  "pino (same line)": (setup) => withPino(setup, "same line"),
  "pino (same line, redact)": (setup) => withPino(setup, "redacting"),
  "pino-caller": (setup) => withPino(setup, "telling its caller"),
  winston: withWinston,
};

async function ours(
  { fd, kind, buffered }: Setup,
  options: { redact?: false; caller?: "all" },
): Promise<LoggerUnderTest> {
  const { createLogger, withContext } = await import("@vg/logging");
  const buffer = buffered && { sizeBytes: 4096 };
  const root = createLogger({ level: "info", format: "json", caller: "off", destination: fd, buffer, ...options });
  const logger = kind === "child" ? root.withFields(BINDINGS) : root;
  const lines: Record<LineKind, (i: number) => void> = {
    flat: (i) => logger.info(MESSAGE, fieldsOf(kind, i)),
    nested: (i) => logger.info(MESSAGE, fieldsOf(kind, i)),
    child: (i) => logger.info(MESSAGE, fieldsOf(kind, i)),
    special: (i) => logger.logHttpRequest("POST", "/v2/chat/completions", 200, i % 1000),
    error: (i) => logger.error(FAILURE, ERROR, fieldsOf(kind, i)),
    context: (i) => logger.info(MESSAGE, fieldsOf(kind, i)),
    off: (i) => logger.debug(MESSAGE, fieldsOf(kind, i)),
  };
  return {
    line: lines[kind],
    async flush() {
      await root.flush();
    },
    ...(kind === "context" && { within: withContext }),
  };
}

async function withPino(
  { fd, kind, buffered }: Setup,
  how: "default" | "same line" | "redacting" | "telling its caller",
): Promise<LoggerUnderTest> {
  const { pino, stdTimeFunctions } = await import("pino");
  const destination = pino.destination(buffered ? { fd, sync: false, minLength: 4096 } : { fd, sync: true });
  const contexts = new AsyncLocalStorage<Ids>();
  // The words, names and time that @vg/logging writes, by the cheapest means that pino has for each.
  const sameLine = {
    base: null,
    messageKey: "message",
    errorKey: "error",
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const plain = pino(
    {
      ...(how === "default" ? {} : sameLine),
      ...(how === "redacting" ? { redact: { paths: REDACTED_PATHS, censor: "[redacted]" } } : {}),
      ...(kind === "context" ? { mixin: () => ({ ...contexts.getStore() }) } : {}),
    },
    destination,
  );
  const root = how === "telling its caller" ? (await import("pino-caller")).default.default(plain) : plain;
  const logger = kind === "child" ? root.child(BINDINGS) : root;
  const errorKey = how === "default" ? "err" : "error";
  const lines: Record<LineKind, (i: number) => void> = {
    flat: (i) => logger.info(fieldsOf(kind, i), MESSAGE),
    nested: (i) => logger.info(fieldsOf(kind, i), MESSAGE),
    child: (i) => logger.info(fieldsOf(kind, i), MESSAGE),
    special: (i) =>
      logger.info({ method: "POST", path: "/v2/chat/completions", status_code: 200, latency_ms: i % 1000 }, EVENT),
    error: (i) => logger.error({ [errorKey]: ERROR, ...fieldsOf(kind, i) }, FAILURE),
    context: (i) => logger.info(fieldsOf(kind, i), MESSAGE),
    off: (i) => logger.debug(fieldsOf(kind, i), MESSAGE),
  };
  return {
    line: lines[kind],
    flush: () => destination.flushSync(),
    ...(kind === "context" && { within: (ids: Ids, write: () => void) => contexts.run(ids, write) }),
  };
}

async function withWinston({ fd, kind, buffered }: Setup): Promise<LoggerUnderTest> {
  const { createLogger, format, transports } = await import("winston");
  const stream = buffered
    ? createWriteStream("", { fd, autoClose: false })
    : new Writable({
        decodeStrings: false,
        write(line: string, _encoding, done) {
          writeSync(fd, line);
          done();
        },
      });
  const root = createLogger({
    level: "info",
    format: format.combine(format.timestamp(), format.json()),
    transports: [new transports.Stream({ stream })],
  });
  let logger = kind === "child" ? root.child(BINDINGS) : root;
  const lines: Record<LineKind, (i: number) => void> = {
    flat: (i) => void logger.info(MESSAGE, fieldsOf(kind, i)),
    nested: (i) => void logger.info(MESSAGE, fieldsOf(kind, i)),
    child: (i) => void logger.info(MESSAGE, fieldsOf(kind, i)),
    special: (i) => void logger.info(EVENT, fieldsOf(kind, i)),
    // An error in a field is {} to it, so its user says what there is to say.
    error: (i) => void logger.error(FAILURE, { error: shownError(), ...fieldsOf(kind, i) }),
    context: (i) => void logger.info(MESSAGE, fieldsOf(kind, i)),
    off: (i) => void logger.debug(MESSAGE, fieldsOf(kind, i)),
  };
  return {
    line: lines[kind],
    // It knows no context: a program that wants one makes a child for each request, and hands it on.
    ...(kind === "context" && {
      within(ids: Ids, write: () => void) {
        logger = root.child(ids);
        write();
      },
    }),
    // It hands lines on in turns of the event loop where the stream is behind.
    async flush() {
      while (root.writableLength > 0 || stream.writableLength > 0) {
        await new Promise((resume) => setImmediate(resume));
      }
    },
  };
}

/**
 * What comes nearest in pino to our list of names: at the top and one object down, which is how far a wildcard reaches.
 * Ours holds at any depth, in any spelling, and inside of text.
 */
const REDACTED_PATHS: string[] = [
  "password passwd passphrase pwd secret token authorization cookie cookies apiKey accessToken refreshToken idToken",
  "authToken sessionToken bearerToken csrfToken resetToken jwt clientSecret privateKey secretKey secretAccessKey",
  "accessKey signingKey encryptionKey credential credentials ssn creditCard cardNumber cvv cvc otp rawHeaders",
]
  .join(" ")
  .split(" ")
  .flatMap((name) => [name, `*.${name}`]);
