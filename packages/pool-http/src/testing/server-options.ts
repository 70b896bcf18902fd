import { setTimeout as delay } from "node:timers/promises";
import { checkOptions } from "@vg/internal";
import { createTestAuthority, type TestAuthority, type TestCertificate } from "./certificates.ts";
import type { FaultRequest } from "./records.ts";
import type { RequestScript, Script } from "./script.ts";
import { reply } from "./steps.ts";

export interface FaultServerOptions {
  /** What is done with each request once it has come whole. Default: `reply(200)`. */
  requests?: RequestScript | undefined;
  /**
   * Asked as soon as a request's head has come: where it gives a script, that one is run at once, beside the body that
   * is still being sent, and `requests` is not asked.
   */
  heads?: ((request: FaultRequest) => Script | undefined) | undefined;
  /**
   * What is done with each new connection before anything is read from it or encrypted. A script that comes to its end
   * lets the connection go on. The number counts connections from 0.
   */
  connections?: Script | ((number: number) => Script) | undefined;
  /**
   * "http" (default); "https"; "h2": HTTP/2 over TLS, and HTTP/1.1 for clients that ask for no other (ALPN); "h2c":
   * HTTP/2 without TLS, for clients that know.
   */
  protocol?: "http" | "https" | "h2" | "h2c" | undefined;
  /**
   * For TLS. "valid" (default): for 127.0.0.1, ::1 and localhost, issued by the authority whose certificate is `ca` of
   * the server. "wrong-name": of the same authority, for another host. "expired": since yesterday. "self-signed". Or one
   * of your own (PEM).
   */
  certificate?: "valid" | "wrong-name" | "expired" | "self-signed" | TestCertificate | undefined;
  /** Issues `certificate`. Default: one for the whole process. */
  authority?: TestAuthority | undefined;
  /** For TLS: refuse clients without a certificate of `authority`. Default false. */
  requireClientCertificate?: boolean | undefined;
  /** Of each request's body, so many bytes are kept. Default 1 048 576. */
  maxBodyBytes?: number | undefined;
  /** At least so many of the last requests are kept. Default 10 000. */
  maxRequests?: number | undefined;
  /**
   * Waits for steps that name a time, and rejects when the signal aborts. Default: a timer. A function that returns at
   * once makes scripts run without waiting; one of your own lets a test move the time.
   */
  sleep?: ((ms: number, signal: AbortSignal) => Promise<void>) | undefined;
}

/** Checked, and with the defaults in place. */
export interface ResolvedOptions {
  requests: RequestScript;
  readonly heads: FaultServerOptions["heads"];
  readonly connections: FaultServerOptions["connections"];
  readonly protocol: "http" | "https" | "h2" | "h2c";
  readonly certificate: () => TestCertificate;
  readonly authority: () => TestAuthority;
  readonly requireClientCertificate: boolean;
  readonly maxBodyBytes: number;
  readonly maxRequests: number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Throws TypeError for what cannot be. */
export function resolveOptions(options: FaultServerOptions): ResolvedOptions {
  const check = checkOptions("FaultServer", options, (message) => new TypeError(message));
  const authority = (): TestAuthority => options.authority ?? (shared ??= createTestAuthority());
  const given = check.raw("certificate");
  const ready = typeof given === "object" ? (given as TestCertificate) : undefined;
  const kind = ready === undefined ? check.oneOf("certificate", CERTIFICATES, { fallback: "valid" as const }) : "valid";
  const resolved: ResolvedOptions = {
    requests: (check.raw("requests") as RequestScript | undefined) ?? reply(200),
    heads: check.function<NonNullable<FaultServerOptions["heads"]>>("heads"),
    connections: check.raw("connections") as FaultServerOptions["connections"],
    protocol: check.oneOf("protocol", ["http", "https", "h2", "h2c"], { fallback: "http" }),
    certificate: () => ready ?? issue(kind, authority()),
    authority,
    requireClientCertificate: check.boolean("requireClientCertificate", { fallback: false }),
    maxBodyBytes: check.integer("maxBodyBytes", { fallback: 1024 * 1024 }),
    maxRequests: check.integer("maxRequests", { fallback: 10_000, min: 1 }),
    sleep: check.function<ResolvedOptions["sleep"]>("sleep") ?? ((ms, signal) => delay(ms, undefined, { signal })),
  };
  check.raw("authority");
  check.noOthers();
  return resolved;
}

/** One for the process, made when it is needed. */
let shared: TestAuthority | undefined;

const CERTIFICATES = ["valid", "wrong-name", "expired", "self-signed"] as const;
const HERE = ["localhost", "127.0.0.1", "::1"];
const DAY_MS = 86_400_000;

function issue(kind: (typeof CERTIFICATES)[number], authority: TestAuthority): TestCertificate {
  const names = kind === "wrong-name" ? ["elsewhere.test"] : HERE;
  if (kind === "self-signed") return authority.issue({ names, selfSigned: true });
  if (kind !== "expired") return authority.issue({ names });
  const now = Date.now();
  return authority.issue({ names, notBefore: new Date(now - 2 * DAY_MS), notAfter: new Date(now - DAY_MS) });
}
