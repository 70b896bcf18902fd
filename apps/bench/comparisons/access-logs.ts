/** The access logs of the comparison, each around the same listener and with a line for each request. */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";

export interface AccessLogUnderTest {
  wrap(listener: RequestListener): RequestListener;
  flush(): void | Promise<void>;
  /** Whether its lines have the names of `accessLog`; otherwise they have pino-http's. */
  readonly hasOurNames: boolean;
}

export interface AccessSetup {
  readonly fd: number;
  readonly buffered: boolean;
}

type MakeAccessLog = (setup: AccessSetup) => AccessLogUnderTest | Promise<AccessLogUnderTest>;

export function accessLogMaker(name: string): MakeAccessLog {
  const make = MAKERS[name];
  if (make === undefined) throw new Error(`no access log ${name}`);
  return make;
}

const MAKERS: Record<string, MakeAccessLog> = {
  "@vg/logging accessLog": (setup) => ours(setup, true),
  "@vg/logging accessLog (nothing hidden)": (setup) => ours(setup, false),
  "pino-http (same fields)": (setup) => withPinoHttp(setup, true),
  "pino-http (as it comes)": (setup) => withPinoHttp(setup, false),
  "node:http (no access log)": () => ({
    wrap: (listener) => listener,
    flush: () => undefined,
    hasOurNames: true,
  }),
};

async function ours({ fd, buffered }: AccessSetup, redact: boolean): Promise<AccessLogUnderTest> {
  const [{ createLogger }, { accessLog }] = await Promise.all([
    import("@vg/logging"),
    import("@vg/logging/access-log"),
  ]);
  const buffer = buffered && { sizeBytes: 4096 };
  const logger = createLogger({ format: "json", destination: fd, buffer, ...(redact ? {} : { redact: false }) });
  const access = accessLog(logger, redact ? {} : { query: "full" });
  return {
    wrap: (listener) => access.wrap(listener),
    async flush() {
      await logger.flush();
    },
    hasOurNames: true,
  };
}

async function withPinoHttp({ fd, buffered }: AccessSetup, sameFields: boolean): Promise<AccessLogUnderTest> {
  const [{ pino }, { pinoHttp }] = await Promise.all([import("pino"), import("pino-http")]);
  const destination = pino.destination(buffered ? { fd, sync: false, minLength: 4096 } : { fd, sync: true });
  const log = pinoHttp(sameFields ? SAME_FIELDS(pino.stdTimeFunctions.isoTime) : {}, destination);
  return {
    wrap: (listener) => (request, response) => {
      log(request, response);
      listener(request, response);
    },
    flush: () => destination.flushSync(),
    hasOurNames: sameFields,
  };
}

/**
 * The line of `accessLog`, but for the time to the first byte, by the cheapest means that pino-http has: no request and
 * no response is serialised, and what is known when the answer is complete is one flat object.
 */
const SAME_FIELDS = (timestamp: () => string) => ({
  base: null,
  messageKey: "message",
  errorKey: "error",
  timestamp,
  formatters: { level: (label: string) => ({ level: label }) },
  wrapSerializers: false,
  // In the place of the request, so that the one child that it makes for each carries the id and nothing else.
  customAttributeKeys: { req: "request_id" },
  serializers: { request_id: ({ id }: { id: unknown }) => id },
  genReqId: ({ headers }: IncomingMessage) => headers["x-request-id"] ?? randomUUID(),
  customLogLevel: (_: IncomingMessage, { statusCode }: ServerResponse) =>
    statusCode >= 500 ? ("error" as const) : statusCode >= 400 ? ("warn" as const) : ("info" as const),
  customSuccessMessage: () => "http_request",
  customSuccessObject(request: IncomingMessage, response: ServerResponse, { responseTime }: { responseTime: number }) {
    const { method, url = "", headers, httpVersion } = request;
    const mark = url.indexOf("?");
    return {
      method,
      path: mark === -1 ? url : url.slice(0, mark),
      status_code: response.statusCode,
      latency_ms: responseTime,
      query: mark === -1 ? undefined : url.slice(mark + 1),
      request_bytes: Number(headers["content-length"] ?? 0),
      response_bytes: Number(response.getHeader("content-length")),
      client_address: request.socket.remoteAddress,
      user_agent: headers["user-agent"],
      http_version: httpVersion,
    };
  },
});
