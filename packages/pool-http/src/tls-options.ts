import type { SecureContext } from "node:tls";
import { checkOptions } from "@vg/internal";
import { HttpPoolConfigError } from "./errors.ts";
import { secureContextOf, type Pem, type TlsMaterial } from "./tls-material.ts";

export interface HttpTlsOptions {
  /** Certificates (PEM) to trust instead of Node's own list. */
  ca?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  /** Certificates (PEM) to trust besides Node's own list (with NODE_EXTRA_CA_CERTS and the like). Not with `ca`. */
  extraCa?: string | Uint8Array | readonly (string | Uint8Array)[] | undefined;
  /** The client's certificate chain (PEM), with `key`: mutual TLS. */
  cert?: string | Uint8Array | undefined;
  /** The client's private key (PEM), with `cert`. */
  key?: string | Uint8Array | undefined;
  /** The name to ask for and to verify. Default: the URL's host. It holds for every origin of this pool. */
  servername?: string | undefined;
  /** Default "TLSv1.2". */
  minVersion?: "TLSv1.2" | "TLSv1.3" | undefined;
  /** Accept any certificate. For tests on your own machine; warns at every start. Default false. */
  insecureSkipVerify?: boolean | undefined;
}

/** A new one for each `setTls`: connections remember the one that they were made with. */
export interface ResolvedTls {
  readonly servername: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly insecureSkipVerify: boolean;
  /** From `ca`, `extraCa`, `cert` and `key`: read once, and found good. */
  readonly secureContext: SecureContext | undefined;
}

/** Checks `tls`; throws HttpPoolConfigError. `owner` begins its message. */
export function resolveTls(value: unknown, owner: string): ResolvedTls {
  const fail = (message: string): Error => new HttpPoolConfigError(message);
  // A text in their place may be a key.
  if (typeof value === "string") throw fail(`${owner}: the TLS options must be an object, got a string.`);
  const check = checkOptions(owner, value === undefined ? {} : value, fail);
  const pem = (name: keyof TlsMaterial): Pem | undefined => {
    const given = check.raw(name);
    const list = name === "ca" || name === "extraCa";
    const items: unknown[] = Array.isArray(given) && list ? given : [given];
    if (given === undefined) return undefined;
    const read = items.map((item) => (item instanceof Uint8Array ? Buffer.from(item) : item));
    if (!read.every(isPem)) {
      // Without the value, which may be a secret.
      throw fail(`${owner}: ${name} must be PEM text or bytes. Read the file and pass its content, not its path.`);
    }
    return list ? read : read[0];
  };
  const given = { ca: pem("ca"), extraCa: pem("extraCa"), cert: pem("cert"), key: pem("key") };
  if ((given.cert === undefined) !== (given.key === undefined)) {
    throw fail(`${owner}: cert and key belong together, only one was given. Give both or neither.`);
  }
  if (given.ca !== undefined && given.extraCa !== undefined) {
    throw fail(`${owner}: ca replaces Node's list and extraCa adds to it, both were given. Give one of them.`);
  }
  const minVersion = check.oneOf("minVersion", ["TLSv1.2", "TLSv1.3"], { fallback: "TLSv1.2" });
  const resolved: ResolvedTls = {
    minVersion,
    servername: check.string("servername", { fallback: undefined }),
    insecureSkipVerify: check.boolean("insecureSkipVerify", { fallback: false }),
    secureContext: secureContextOf(given, minVersion, (message) => fail(`${owner}: ${message}`)),
  };
  check.noOthers();
  return resolved;
}

function isPem(value: unknown): value is string | Buffer {
  return (typeof value === "string" || Buffer.isBuffer(value)) && value.includes("-----BEGIN ");
}
