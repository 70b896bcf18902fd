import type { Settings } from "../config.ts";
import { createTextScrubber } from "./redact-text.ts";

/** Decides what is a secret. Names are looked at once and remembered by the caller, so `isSecret` may take its time. */
export interface Redactor {
  isSecret(name: string): boolean;
  /** The text with the secrets in it replaced. `isCut` says that it is only the start of a longer one. */
  scrub(text: string, isCut: boolean): string;
  readonly replacement: string;
  /** Any text may hold something to hide, not only one that `needsCare` points out: there are patterns of the user's. */
  readonly scrubsAll: boolean;
  /** `scrub` gives the text that it gets. */
  readonly scrubsNothing: boolean;
}

// Compared in lower case without "-", "_" and spaces: apiKey, API_KEY and api-key are one name.
const SECRET_NAMES = [
  "password passwd passphrase pwd secret token authorization proxyauthorization cookie setcookie cookies",
  // As CGI has headers, and in numbers; `tokens` is mostly how many.
  "httpauthorization httpproxyauthorization httpcookie passwords secrets apikeys accountkey",
  "apikey xapikey xauthtoken xcsrftoken xgoogapikey xamzsecuritytoken accesstoken refreshtoken idtoken authtoken sessiontoken",
  "bearertoken csrftoken resettoken jwt clientsecret privatekey secretkey secretaccesskey accesskey signingkey",
  "encryptionkey credential credentials ssn creditcard cardnumber cvv cvc otp",
]
  .join(" ")
  .split(" ");

// A longer name that ends in one of these is as secret: dbPassword, STRIPE_API_KEY, github_access_token.
const SECRET_ENDINGS =
  /(?:password|passwd|passphrase|pwd|secret|apikey|privatekey|secretkey|accesskey|signingkey|encryptionkey|credentials?|(?:access|refresh|auth|session|bearer|api|bot|id|csrf|xsrf|reset|user|vault|github|gitlab|npm|deploy|webhook)token)$/;

const normalise = (name: string): string => name.toLowerCase().replace(/[-_\s]/g, "");

export function createRedactor(options: Settings["redact"]): Redactor {
  if (options === false)
    return { isSecret: () => false, scrub: (text) => text, replacement: "", scrubsAll: false, scrubsNothing: true };
  const { replacement } = options;
  const secret = new Set([...SECRET_NAMES, ...options.keys.map(normalise)]);
  const allowed = new Set(options.allow.map(normalise));

  return {
    replacement,
    isSecret(name) {
      const plain = normalise(name);
      return !allowed.has(plain) && (secret.has(plain) || SECRET_ENDINGS.test(plain));
    },
    scrub: withPatterns(options.text ? createTextScrubber(replacement) : (text) => text, options.patterns, replacement),
    scrubsAll: options.patterns.length > 0,
    scrubsNothing: !options.text && options.patterns.length === 0,
  };
}

type Scrub = Redactor["scrub"];

function withPatterns(scrub: Scrub, patterns: readonly RegExp[], replacement: string): Scrub {
  if (patterns.length === 0) return scrub;
  // Copies: nobody else's `lastIndex`, methods or flags have a part in it.
  const own = patterns.map(({ source, flags }) => new RegExp(source, `${flags.replace(/[gy]/g, "")}g`));
  return (text, isCut) => {
    let clean = scrub(text, isCut);
    try {
      for (const pattern of own) clean = clean.replace(pattern, () => replacement);
      return clean;
    } catch {
      // A pattern can run out of stack; what it did not get to see is not shown.
      return replacement;
    }
  };
}
