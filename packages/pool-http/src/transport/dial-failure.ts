/** Why a dial failed, in the words of whoever has to mend it. Nothing was ever sent. */
import { codeOf, type Failure } from "../failure.ts";
import type { Proxy } from "./proxy.ts";
import type { TunnelRefusal } from "./tunnel.ts";

interface About {
  /** Of what happened without an error. */
  readonly code: string | undefined;
  readonly phase: "connect" | "tls";
  readonly handshaking: boolean;
  /** The certificate was not accepted. */
  readonly untrusted: boolean;
  readonly proxy: Proxy | undefined;
  /** The proxy has done its part. */
  readonly beyondProxy: boolean;
}

export function connectFailure(about: About, error: Error | undefined): Failure {
  const { phase, proxy } = about;
  const code = about.code ?? codeOf(error) ?? "ECONNFAILED";
  const through = proxy === undefined ? "" : ` through the proxy ${proxy.url.origin}`;
  const failure = (reason: "connect" | "tls", detail: string): Failure => ({
    reason,
    phase: reason === "tls" ? "tls" : phase,
    code,
    detail,
    cause: error,
    sent: false,
  });
  if (code === "ERR_TLS_NO_HTTP2") {
    return failure("tls", 'the server speaks no HTTP/2, and http2 is "on". Set it to "auto" or "off"');
  }
  if (code === "HTTP2_NO_SETTINGS") {
    return failure(
      "connect",
      `the server answered${through} with no HTTP/2 settings, or with such that allow no request (${code})`,
    );
  }
  if (about.handshaking && about.untrusted) {
    const whose = proxy !== undefined && !about.beyondProxy ? "the proxy's certificate" : "the server's certificate";
    return failure("tls", `${code}${through}. ${remedyFor(code, whose)}`);
  }
  const broken = code === "EPROTO" || code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_");
  if (about.handshaking && broken) {
    return failure(
      "tls",
      `${code}${through}. Check that the port speaks TLS, and tls.minVersion, tls.cert and tls.key`,
    );
  }
  if (code === "ECONNRESET" && error === undefined) {
    return failure("connect", `the server closed the connection during the handshake${through}`);
  }
  const check =
    proxy !== undefined && !about.beyondProxy
      ? "Check the proxy's address, that it is up, and NO_PROXY"
      : "Check the host, the port and that the server is up";
  return failure("connect", `${code}${through}. ${check}`);
}

/** A certificate whose issuer is trusted gains nothing by another `tls.ca`. */
function remedyFor(code: string, whose: string): string {
  switch (code) {
    case "CERT_HAS_EXPIRED":
      return `Renew ${whose}; or this machine's clock is ahead`;
    case "CERT_NOT_YET_VALID":
      return `Set this machine's clock, or correct ${whose}`;
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return `It is for other names (see cause): ask for one of them, name it in tls.servername, or correct ${whose}`;
    default:
      return `Give tls.ca the certificate of its issuer, or correct ${whose}`;
  }
}

export function connectTimeout(
  limit: "connectTimeoutMs" | "tlsHandshakeTimeoutMs",
  limitMs: number,
  awaited: string,
  phase: "connect" | "tls",
  proxy: Proxy | undefined,
): Failure {
  const through = proxy === undefined ? "" : ` through the proxy ${proxy.url.origin}`;
  const whom = proxy === undefined ? "the server is" : "the proxy and the server are";
  return {
    reason: "timeout",
    phase,
    code: "ERR_VG_HTTP_TIMEOUT",
    limit,
    detail: `no ${awaited}${through} within ${limit} (${limitMs} ms). Check that ${whom} up and reachable`,
    sent: false,
  };
}

export function tunnelFailure(proxy: Proxy, { status, detail }: TunnelRefusal): Failure {
  const advice =
    status === 407
      ? "Give the proxy's URL a user and a password, or correct them"
      : status === 403
        ? "Ask its owner to allow the host and the port, or name the host in NO_PROXY"
        : "Check that it is a proxy that allows CONNECT, and that it can reach the host";
  return {
    // A gateway's error may pass; any other answer will be the same next time.
    reason: status !== undefined && status >= 500 ? "connect" : "proxy",
    phase: "connect",
    code: status === undefined ? "ERR_PROXY_RESPONSE" : `ERR_PROXY_${status}`,
    detail: `the proxy ${proxy.url.origin} opened no tunnel: ${detail}. ${advice}`,
    sent: false,
  };
}
