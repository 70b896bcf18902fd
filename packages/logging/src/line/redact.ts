import type { Settings } from "../config.ts";
import { createTextScrubber } from "./redact-text.ts";

/** Decides what is a secret. Names are looked at once and remembered by the caller, so `isSecret` may take its time. */
export interface Redactor {
  isSecret(name: string): boolean;
  /** The text with the secrets in it replaced. `isCut` says that it is only the start of a longer one. */
  scrub(text: string, isCut: boolean): string;
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
    scrub: options.text ? createTextScrubber(replacement) : (text) => text,
  };
}
