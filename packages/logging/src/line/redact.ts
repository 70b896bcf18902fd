import type { Settings } from "../config.ts";

/** Decides what is a secret. Names are looked at once and remembered by the caller, so `isSecret` may take its time. */
export interface Redactor {
  isSecret(name: string): boolean;
  /** The text with the secrets in it replaced. */
  scrub(text: string): string;
  readonly replacement: string;
}

// Compared in lower case without "-", "_" and spaces: apiKey, API_KEY and api-key are one name.
const SECRET_NAMES = [
  "password passwd passphrase pwd secret token authorization proxyauthorization cookie setcookie cookies",
  "apikey xapikey xauthtoken xcsrftoken xamzsecuritytoken accesstoken refreshtoken idtoken authtoken sessiontoken",
  "bearertoken csrftoken resettoken jwt clientsecret privatekey secretkey secretaccesskey accesskey signingkey",
  "encryptionkey credential credentials ssn creditcard cardnumber cvv cvc otp rawheaders",
]
  .join(" ")
  .split(" ");

// A longer name that ends in one of these is as secret: dbPassword, STRIPE_API_KEY, github_access_token.
const SECRET_ENDINGS =
  /(?:password|passwd|passphrase|secret|apikey|privatekey|secretkey|accesskey|(?:access|refresh|auth|session|bearer|api|bot|id)token)$/;

const normalise = (name: string): string => name.toLowerCase().replace(/[-_\s]/g, "");

export function createRedactor(options: Settings["redact"]): Redactor {
  if (options === false) return { isSecret: () => false, scrub: (text) => text, replacement: "" };
  const { replacement } = options;
  const secret = new Set([...SECRET_NAMES, ...options.keys.map(normalise)]);
  const allowed = new Set(options.allow.map(normalise));

  return {
    replacement,
    isSecret(name) {
      const plain = normalise(name);
      return !allowed.has(plain) && (secret.has(plain) || SECRET_ENDINGS.test(plain));
    },
    scrub: options.text ? textScrubber(replacement) : (text) => text,
  };
}

// Every pattern runs in time proportional to the text: none has a repetition inside a repetition over the same letters.
const URL_PASSWORD = /(:\/\/[^\s/?#:@]*:)[^\s/?#]+@/g;
const NAMES = "passw(?:or)?d|passphrase|pwd|secret|api[-_]?key|token|private[-_]?key|access[-_]?key";
const ASSIGNMENT = new RegExp(String.raw`((?:${NAMES})\s*=\s*)(?:'[^']*'|"[^"]*"|[^\s&;,'"]+)`, "gi");
// A member of JSON inside text, and of JSON inside JSON, where the quotes are escaped.
const JSON_MEMBER = new RegExp(String.raw`((?:${NAMES})"\s*:\s*")(?:[^"\\]|\\.)*`, "gi");
const ESCAPED_JSON_MEMBER = new RegExp(String.raw`((?:${NAMES})\\"\s*:\s*\\")[^"\\]*`, "gi");
// "basic settings" is prose: a basic credential is base64, which has digits, capitals or "=".
const CREDENTIALS = /\b([Bb]earer\s+|BEARER\s+|[Bb]asic\s+(?=[a-z]*[A-Z0-9+/=]))[\w.~+/=-]{6,}/g;
const PRIVATE_KEY = /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-]*(-----END|$)/g;

function textScrubber(replacement: string): (text: string) => string {
  // A replacement may hold "$", which replace() reads as an instruction, so it is given by functions.
  return (text) => {
    let clean = text;
    if (clean.includes("://")) clean = clean.replace(URL_PASSWORD, (_, before: string) => `${before}${replacement}@`);
    if (clean.includes("=")) clean = clean.replace(ASSIGNMENT, (_, before: string) => before + replacement);
    if (clean.includes('"')) {
      clean = clean.replace(JSON_MEMBER, (_, before: string) => before + replacement);
      clean = clean.replace(ESCAPED_JSON_MEMBER, (_, before: string) => before + replacement);
    }
    if (clean.includes("PRIVATE KEY-----")) {
      clean = clean.replace(PRIVATE_KEY, (_, begin: string, end: string) => begin + replacement + end);
    }
    if (!(clean.includes("earer") || clean.includes("asic") || clean.includes("BEARER"))) return clean;
    return clean.replace(CREDENTIALS, (_, scheme: string) => scheme + replacement);
  };
}
