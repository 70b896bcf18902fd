import { hasLongWord, hasTokenSign, hideTokens } from "./tokens.ts";

/**
 * Secrets inside text: passwords and signatures in URLs, `password=…`, headers, members of JSON, keys, tokens.
 *
 * Every step takes time in proportion to the text, whatever the text: no pattern has a repetition inside a repetition
 * over the same letters, and what needs to look far ahead is a loop.
 */

const KEYS = "(?:api|private|access|account)[-_]?key";
/** What a value is assigned to, or a member of JSON is called; before a colon in prose, fewer are. */
const NAMES =
  `passw(?:or)?d|passphrase|pwd|secret|token|${KEYS}|authorization|(?:set-?)?cookies?` +
  String.raw`|(?:signing|encryption)[-_]?key|credentials?|credit[-_]?card|card[-_]?number|(?<![a-z\d])(?:jwt|otp|ssn|cvv|cvc)`;
/** One look that tells most texts to be none of the business of the patterns with names. */
const ANY_NAME =
  /passw|passphrase|pwd|secret|token|(?:api|private|access|account|signing|encryption)[-_]?key|authorization|cookie|credential|credit[-_]?card|card[-_]?number|jwt|otp|ssn|cv[vc]/i;

// A quote that is never closed reaches to the end, where the text was cut; so this never fails, nor tries twice.
const QUOTED = String.raw`'(?:[^'\\]|\\[\s\S]?)*(?:'|$)|"(?:[^"\\]|\\[\s\S]?)*(?:"|$)`;
/** How a credential is to be read. Behind a name that is secret it goes with the credential. */
const SCHEME = String.raw`(?:bearer|basic|token|digest|negotiate|hmac|apikey)[ \t]+`;
/** Ruby's `=>` as well. */
const ASSIGNS = String.raw`\s*=>?\s*`;
/** A list or an object is left to `hideMembers`. */
const NO_BRACKET = "(?![[{])";
/** A colon, or Go's `:=`. */
const INTRODUCES = String.raw`[ \t]*:(?:=|(?!=))(?!\s*[[{])[ \t]*`;
const ASSIGNMENT = new RegExp(
  String.raw`((?:${NAMES})${ASSIGNS})${NO_BRACKET}(?:${QUOTED}|(?:${SCHEME})?[^\s&;,'"]+)`,
  "gi",
);
const COOKIE_VALUE = String.raw`=(?:"[^"\r\n]*"|[^\s;,'"]*)`;
/** Several cookies, as their header has them. */
const COOKIES = new RegExp(
  String.raw`(cookies?${ASSIGNS})${NO_BRACKET}(?:${SCHEME})?[^\s&;,'"=]+(?:${COOKIE_VALUE})?(?:;[ \t]*[^\s;,'"=]+${COOKIE_VALUE})*`,
  "gi",
);
/** Parameters of a URL that are secrets only there. */
const PARAMETER =
  /([?&;](?:sig|signature|x-(?:amz|goog)-signature|jwt|otp|client_assertion|code_verifier|samlresponse)=)[^\s&;#"'<>]+/gi;
/** To replace nothing takes far longer than to see that there is nothing. */
const ANY_PARAMETER = /[?&;](?:sig|x-[ag]|jwt|otp|client_a|code_v|saml)/i;
/** A header takes the rest of its line; the scheme of a credential may be seen. */
const HEADER = new RegExp(
  String.raw`((?:authorization|cookie)${INTRODUCES}(?:${SCHEME})?)(?:${QUOTED}|(?:[^\r\n"'\\]|(?<==)"[^"\r\n]*")+)`,
  "gi",
);
const LABELS = `passw(?:or)?d|passphrase|pwd|secret|[-_]token|${KEYS}`;
const LABELLED = new RegExp(String.raw`((?:${LABELS})${INTRODUCES})(?:${QUOTED}|(?:${SCHEME})?[^\s"']+)`, "gi");
// "Unexpected token: foo" is prose: after this word alone, only what looks like one is taken for a token.
const LABELLED_TOKEN = /(token[ \t]*:[ \t]*["']?)(?=[A-Za-z_.~+/=-]*\d)[\w.~+/=-]{6,}/gi;
// "basic settings" is prose: a basic credential is base64, which has digits, capitals or "=".
const CREDENTIALS = /\b([Bb]earer\s+|BEARER\s+|[Bb]asic\s+(?=[a-z]*[A-Z0-9+/=]))[\w.~+/=-]{6,}/g;
const PRIVATE_KEY = /(-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5})[\s\S]*?(-{4,5} ?END|$)/g;

/**
 * Makes the function that hides the secrets of a text.
 *
 * It is told whether the text is only the start of a longer one, whose last word may be half a secret.
 */
export function createTextScrubber(replacement: string): (text: string, isCut: boolean) => string {
  // A replacement may hold "$", which replace() reads as an instruction, so it is given by functions.
  const keepFirst = (_: string, before: string): string => before + replacement;

  return (text, isCut) => {
    let clean = text;
    if (clean.includes("://")) clean = hideUrlPasswords(clean, replacement, isCut);
    if (clean.includes("=") && ANY_PARAMETER.test(clean)) clean = clean.replace(PARAMETER, keepFirst);
    if (ANY_NAME.test(clean)) {
      const hasAssignment = clean.includes("=");
      const hasColon = clean.includes(":");
      if (hasAssignment || hasColon) clean = hideMembers(clean, replacement);
      if (hasAssignment) clean = clean.replace(COOKIES, keepFirst).replace(ASSIGNMENT, keepFirst);
      if (hasColon) {
        clean = clean.replace(HEADER, keepFirst).replace(LABELLED, keepFirst).replace(LABELLED_TOKEN, keepFirst);
      }
    }
    if (clean.includes("PRIVATE KEY")) {
      clean = clean.replace(PRIVATE_KEY, (_, begin: string, end: string) => begin + replacement + end);
    }
    if (clean.includes("earer") || clean.includes("asic") || clean.includes("BEARER")) {
      clean = clean.replace(CREDENTIALS, keepFirst);
    }
    return hasLongWord(clean) && hasTokenSign(clean) ? hideTokens(clean, replacement, isCut) : clean;
  };
}

/** `://user:`, but not `://host:8080/` where the scheme is one of the web's; of mail, the user may have an "@". */
const BEFORE_PASSWORD = /(?<!https?|wss?):\/\/[^/?#:@[\]]*:|:\/\/[^/?#:[\]]*:(?!\d{1,5}(?:[/?#,;)]|$))/i;
/** A password with a quote in it, in a URL that nothing else in the text is close to. */
const QUOTE_IN_PASSWORD = /(:\/\/[^\s/?#:@"]*:)[^\s/?#@"]*"[^\s/?#@,:{}[\]]*@/g;

/**
 * A password may hold an unescaped `/`, `?`, `#` or `@`, so it reaches to the last `@` before white space or a quote.
 * Where two URLs touch, that hides too much rather than too little.
 */
function hideUrlPasswords(text: string, replacement: string, isCut: boolean): string {
  if (!isCut && !text.includes("@")) return text;
  const clean = text.replace(/[^\s"]+/g, (run: string, offset: number) => {
    const found = BEFORE_PASSWORD.exec(run);
    if (found === null) return run;
    const start = found.index + found[0].length;
    const at = run.lastIndexOf("@");
    if (at > start) return run.slice(0, start) + replacement + run.slice(at);
    // The "@" may be in what was cut off.
    const goesOn = isCut && offset + run.length === text.length && start < run.length;
    return goesOn ? run.slice(0, start) + replacement : run;
  });
  if (!clean.includes('"')) return clean;
  return clean.replace(QUOTE_IN_PASSWORD, (_, before: string) => `${before}${replacement}@`);
}

/**
 * `"name":` in JSON, `\"name\":` in JSON that is text in JSON, and so on inwards; `'name':` and `'name' =>` as other
 * languages print it; and a bare name before a list or an object.
 */
const MEMBER = new RegExp(
  [
    String.raw`(?:${NAMES})(\\*)(["'])\s*(?::|=>)\s*`,
    String.raw`(?:${NAMES})\s*:?=>?\s*(?=[[{])`,
    // "Unexpected token: {" is prose.
    String.raw`(?:${LABELS}|authorization|cookies?)\s*:\s*(?=[[{])`,
  ].join("|"),
  "gi",
);
const LITERAL = new RegExp(String.raw`(?:${SCHEME})?[^\s,}\]"'\\]+`, "iy");

const WORD_REST = /[^\s&;,)}\]"'\\]+/y;

function hideMembers(text: string, replacement: string): string {
  let out = "";
  let done = 0;
  MEMBER.lastIndex = 0;
  for (let match = MEMBER.exec(text); match !== null; match = MEMBER.exec(text)) {
    const start = MEMBER.lastIndex;
    const slashes = match[1] ?? "";
    const end = endOfValue(text, start, slashes.length);
    // By an earlier step. What is only the start of a list does not tell.
    const isHidden = /[\]}]$/.test(replacement) && text.startsWith(replacement, start);
    if (end === start || isHidden || text.slice(start, end) === "null") continue;
    const quote = slashes + (match[2] ?? "");
    out += text.slice(done, start) + quote + replacement + quote;
    done = MEMBER.lastIndex = end;
  }
  return out + text.slice(done);
}

/** Where the value that starts at `start` ends; the end of the text where it was cut. */
function endOfValue(text: string, start: number, slashes: number): number {
  let at = start;
  while (text[at] === "\\") at++;
  const first = text[at];
  if (first === '"' || first === "'") return endOfString(text, at + 1, first, slashes);
  if (first === "[" || first === "{") {
    let depth = 0;
    for (let run = 0; at < text.length; at++) {
      const character = text[at];
      if (character === "\\") {
        run++;
        continue;
      }
      // As many backslashes as its quotes have that string has around it.
      if (character === '"' || character === "'") at = endOfString(text, at + 1, character, run) - 1;
      else if (character === "[" || character === "{") depth++;
      else if ((character === "]" || character === "}") && --depth === 0) {
        // A password may begin with what looks like a list.
        WORD_REST.lastIndex = at + 1;
        return WORD_REST.test(text) ? WORD_REST.lastIndex : at + 1;
      }
      run = 0;
    }
    return text.length;
  }
  LITERAL.lastIndex = start;
  return LITERAL.test(text) ? LITERAL.lastIndex : start;
}

/**
 * Behind the quote that ends a string whose own quotes have `slashes` backslashes before them: 0 in JSON, 1 in JSON that
 * is text in JSON, then 3. There a backslash of the string is 2 × (slashes + 1) of them, and a quote one step more.
 */
function endOfString(text: string, start: number, quote: string, slashes: number): number {
  let run = 0;
  for (let at = start; at < text.length; at++) {
    const character = text[at];
    if (character === "\\") {
      run++;
      continue;
    }
    if (character === quote) {
      if (run % (2 * (slashes + 1)) === slashes) return at + 1;
      // Fewer: here the text ends that holds all this.
      if (run < slashes) return at - run;
    }
    run = 0;
  }
  return text.length;
}
