/** Certificates and keys: what makes a secure context of them, and which of them is at fault where that fails. */
import { X509Certificate } from "node:crypto";
import { createSecureContext, getCACertificates, type SecureContext, type SecureContextOptions } from "node:tls";

export type Pem = string | Buffer | (string | Buffer)[];

export interface TlsMaterial {
  readonly ca: Pem | undefined;
  readonly extraCa: Pem | undefined;
  readonly cert: Pem | undefined;
  readonly key: Pem | undefined;
}

/**
 * `undefined` where nothing was given: then a pool uses what Node trusts at the time of each connection. What cannot be
 * used is told to `fail`, by its name and without its content.
 */
export function secureContextOf(
  material: TlsMaterial,
  minVersion: "TLSv1.2" | "TLSv1.3",
  fail: (message: string) => Error,
): SecureContext | undefined {
  const { ca, extraCa, cert, key } = material;
  if (ca === undefined && extraCa === undefined && cert === undefined) return undefined;
  // OpenSSL passes over authorities that it cannot read, and every request would fail with a certificate's error.
  for (const name of ["ca", "extraCa"] as const) {
    const wrong = unreadable(name, material[name]);
    if (wrong !== undefined) throw fail(`${wrong}. Check the file.`);
  }
  const trusted = extraCa === undefined ? ca : [...getCACertificates("default"), ...[extraCa].flat()];
  try {
    return createSecureContext({
      minVersion,
      ...(trusted === undefined ? {} : { ca: trusted }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    });
  } catch (error) {
    const reason = (error as Error).message;
    const certFault = cert === undefined ? undefined : faultOf({ cert });
    if (certFault !== undefined) throw fail(`cert cannot be used: ${certFault}. Check the file.`);
    const keyFault = key === undefined ? undefined : faultOf({ key });
    if (keyFault !== undefined) {
      throw fail(`key cannot be used: ${keyFault}. Check the file; an encrypted key must be decrypted before.`);
    }
    throw fail(`cert and key cannot be used together: ${reason}. Check that they match.`);
  }
}

/** What OpenSSL says of one of them alone. */
function faultOf(options: SecureContextOptions): string | undefined {
  try {
    createSecureContext(options);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const BLOCK = /-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[^-]*(-----END \1-----)?/g;

/** The first certificate of a list that cannot be read, by its place. */
function unreadable(name: "ca" | "extraCa", pem: Pem | undefined): string | undefined {
  if (pem === undefined) return undefined;
  const items = Array.isArray(pem) ? pem : [pem];
  for (const [index, item] of items.entries()) {
    const what = items.length === 1 ? name : `${name}[${index}]`;
    const blocks = [...item.toString("latin1").matchAll(BLOCK)];
    if (blocks.length === 0) return `${what} cannot be used: there is no certificate in it`;
    for (const [at, [text, label, end]] of blocks.entries()) {
      const reason =
        end === undefined ? "it has no end" : label === "TRUSTED CERTIFICATE" ? undefined : parseFault(text);
      if (reason === undefined) continue;
      const which = blocks.length === 1 ? what : `${what}, certificate ${at + 1} of ${blocks.length},`;
      return `${which} cannot be used: ${reason}`;
    }
  }
  return undefined;
}

function parseFault(certificate: string): string | undefined {
  try {
    void new X509Certificate(certificate);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
