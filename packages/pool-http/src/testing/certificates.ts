/**
 * Certificates for tests, made at run time: Node can sign but not issue, so the few structures that X.509 wants (RFC 5280)
 * are written here. Keys are made with each authority and never leave the process, and nothing in a repository expires.
 */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from "node:crypto";
import { isIP, isIPv4 } from "node:net";
import { bitString, contextTag, element, objectId, sequence, TAG, time } from "./der.ts";

export interface TestCertificate {
  /** PEM. */
  readonly cert: string;
  /** PEM (PKCS #8). */
  readonly key: string;
}

export interface IssueOptions {
  /** Host names and IP addresses that it is for; the first one is its common name. At least one. */
  readonly names: readonly string[];
  /** Default: a day ago. */
  readonly notBefore?: Date | undefined;
  /** Default: in ten years. */
  readonly notAfter?: Date | undefined;
  /** Signed with its own key instead of the authority's. Default false. */
  readonly selfSigned?: boolean | undefined;
}

export interface TestAuthority {
  /** Its own certificate (PEM), for a client's list of trusted ones. */
  readonly ca: string;
  /** Issues a certificate for a server or a client. Takes about a millisecond. */
  issue(options: IssueOptions): TestCertificate;
}

const DAY_MS = 86_400_000;
const TEN_YEARS_MS = 3652 * DAY_MS;

const ECDSA_WITH_SHA256 = sequence(objectId("2a8648ce3d040302"));
const COMMON_NAME = objectId("550403");
const BASIC_CONSTRAINTS = objectId("551d13");
const KEY_USAGE = objectId("551d0f");
const SUBJECT_ALT_NAME = objectId("551d11");
const TRUE = element(TAG.boolean, Buffer.from([0xff]));

/** A new certificate authority with a key of its own (ECDSA, P-256). */
export function createTestAuthority(): TestAuthority {
  const keys = makeKeys();
  const subject = nameOf(`test authority ${randomBytes(4).toString("hex")}`);
  const now = Date.now();
  const ca = certificate({
    subject,
    issuer: subject,
    publicKey: keys.publicKey,
    signer: keys.privateKey,
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + TEN_YEARS_MS),
    extensions: [
      sequence(BASIC_CONSTRAINTS, TRUE, element(TAG.octetString, sequence(TRUE))),
      // keyCertSign and cRLSign.
      sequence(KEY_USAGE, TRUE, element(TAG.octetString, bitString(Buffer.from([0b0000_0110]), 1))),
    ],
  });
  return {
    ca,
    issue({ names, notBefore, notAfter, selfSigned = false }) {
      const [first] = names;
      if (first === undefined) throw new TypeError("issue: names must have at least one name, got none");
      const own = makeKeys();
      const ownName = nameOf(first);
      const made = certificate({
        subject: ownName,
        issuer: selfSigned ? ownName : subject,
        publicKey: own.publicKey,
        signer: selfSigned ? own.privateKey : keys.privateKey,
        notBefore: notBefore ?? new Date(Date.now() - DAY_MS),
        notAfter: notAfter ?? new Date(Date.now() + TEN_YEARS_MS),
        extensions: [
          sequence(BASIC_CONSTRAINTS, element(TAG.octetString, sequence())),
          sequence(SUBJECT_ALT_NAME, element(TAG.octetString, sequence(...names.map(alternativeName)))),
        ],
      });
      return { cert: made, key: own.privateKey.export({ type: "pkcs8", format: "pem" }) as string };
    },
  };
}

interface Content {
  readonly subject: Buffer;
  readonly issuer: Buffer;
  readonly publicKey: KeyObject;
  readonly signer: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly extensions: readonly Buffer[];
}

function certificate(content: Content): string {
  const serial = randomBytes(16);
  // Positive, and without a leading zero.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  const signed = sequence(
    // Version 3.
    element(contextTag(0, true), element(TAG.integer, Buffer.from([2]))),
    element(TAG.integer, serial),
    ECDSA_WITH_SHA256,
    content.issuer,
    sequence(time(content.notBefore), time(content.notAfter)),
    content.subject,
    content.publicKey.export({ type: "spki", format: "der" }),
    element(contextTag(3, true), sequence(...content.extensions)),
  );
  const whole = sequence(signed, ECDSA_WITH_SHA256, bitString(sign("sha256", signed, content.signer)));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

function makeKeys(): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

function nameOf(commonName: string): Buffer {
  return sequence(element(TAG.set, sequence(COMMON_NAME, element(TAG.utf8, Buffer.from(commonName)))));
}

function alternativeName(name: string): Buffer {
  if (isIP(name) === 0) return element(contextTag(2, false), Buffer.from(name, "latin1"));
  return element(contextTag(7, false), isIPv4(name) ? Buffer.from(name.split(".").map(Number)) : ipv6Bytes(name));
}

function ipv6Bytes(address: string): Buffer {
  const [before = "", after] = address.split("::");
  const groups = (text: string): number[] => (text === "" ? [] : text.split(":").map((group) => parseInt(group, 16)));
  const [head, tail] = [groups(before), groups(after ?? "")];
  const all = [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}
