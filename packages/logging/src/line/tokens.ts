/**
 * Credentials that are known by their look: what cloud services put at the start of their keys so that scanners can find
 * them, and JSON Web Tokens.
 *
 * Each pattern looks at a bounded number of characters before it decides; only then does it take the rest of the word.
 * So a text takes time in proportion to its length, whatever it holds.
 */

/** A long word, and what stands before it, that a credential may be. Shorter ones are not worth a look. */
const SHORTEST = 16;

/** What a credential may stand behind: no letter or digit, unless that is an escape's (`\n`, `%3D`). */
const START = String.raw`(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))`;
/** The same for what may itself hold "-" and "_", so that a word has one start. */
const WORD_START = String.raw`(?:(?<![\w-])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))`;

const KINDS = [
  // OpenAI, Anthropic, OpenRouter and who copied them; a plain "sk-" is followed by letters, of which one is a digit.
  String.raw`sk-(?:proj|svcacct|admin|ant|or)-[\w-]{16}`,
  "sk-(?=[A-Za-z]{0,19}[0-9])[A-Za-z0-9]{20}",
  // Stripe.
  "[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10}",
  "whsec_[A-Za-z0-9]{16}",
  // GitHub, GitLab, npm, PyPI, RubyGems, Docker.
  "gh[pousr]_[A-Za-z0-9]{20}",
  "github_pat_[A-Za-z0-9]{10}",
  String.raw`gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|imt)-[\w-]{16}`,
  "npm_[A-Za-z0-9]{30}",
  String.raw`pypi-AgE[\w-]{16}`,
  "rubygems_[0-9a-f]{40}",
  "dckr_[po]at_[A-Za-z0-9]{16}",
  // Slack.
  String.raw`xox[abeoprs]-[\w-]{10}`,
  String.raw`xapp-[0-9]-[\w-]{10}`,
  String.raw`hooks\.slack\.com/services/\w{1,20}/\w{1,20}/\w{8}`,
  // Amazon, Google, DigitalOcean, Shopify, Databricks, Vault, SendGrid.
  "(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
  String.raw`AIza[\w-]{35}`,
  String.raw`GOCSPX-[\w-]{16}`,
  String.raw`ya29\.[\w-]{16}`,
  "do[opr]_v1_[0-9a-f]{40}",
  "shp(?:at|ca|pa|ss)_[0-9a-fA-F]{20}",
  "dapi[0-9a-f]{32}",
  String.raw`hv[sbr]\.[\w-]{20}`,
  String.raw`SG\.[\w-]{16,64}\.[\w-]{16}`,
  // Models' other hosts.
  "hf_[A-Za-z0-9]{20}",
  "gsk_[A-Za-z0-9]{20}",
  "xai-[A-Za-z0-9]{20}",
  "pplx-[A-Za-z0-9]{20}",
  "r8_[A-Za-z0-9]{30}",
  "nvapi-[A-Za-z0-9]{16}",
];

const KNOWN = new RegExp(String.raw`${START}(?:${KINDS.join("|")})[\w-]*`, "g");
/** Three parts, or the five of an encrypted one; of the unsigned, the last is empty. */
const WEB_TOKEN = new RegExp(String.raw`${WORD_START}eyJ[\w-]{8,}\.[\w-]{2,}\.[\w-]*(?:\.[\w-]+\.[\w-]+)?`, "g");
const CUT_WEB_TOKEN = new RegExp(String.raw`${WORD_START}eyJ[\w-]{8,}(?:\.[\w-]*)?$`);

/** One of these is in every text that has a credential of the kinds above. */
const SIGN =
  /[sr]k[-_]|whsec_|gh[opusr]_|github_|gl[a-z]{2,5}-|npm_|pypi-|rubyg|dckr_|xox[a-s]-|xapp-|hooks\.sl|A[KS]IA|AIza|GOCS|ya29|_v1_|shp[a-z]{2}_|dapi|hv[brs]\.|SG\.|hf_|xai-|pplx-|r8_|nvapi|eyJ/;

const WORD_CHARACTERS = new Uint8Array(128);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") {
  WORD_CHARACTERS[character.charCodeAt(0)] = 1;
}

/**
 * Whether a text has a word that is as long as a credential. It looks at every sixteenth character, as a long word must
 * cover one of them: most texts are known to have none after a few steps.
 */
export function hasLongWord(text: string): boolean {
  const { length } = text;
  for (let at = SHORTEST - 1; at < length; at += SHORTEST) {
    if (WORD_CHARACTERS[text.charCodeAt(at)] !== 1) continue;
    let start = at;
    while (start > 0 && at - start < SHORTEST && WORD_CHARACTERS[text.charCodeAt(start - 1)] === 1) start--;
    let end = at + 1;
    while (end < length && end - start < SHORTEST && WORD_CHARACTERS[text.charCodeAt(end)] === 1) end++;
    if (end - start >= SHORTEST) return true;
  }
  return false;
}

/** Whether `hideTokens` may find something: a cheap look, for a text that has a long word. */
export function hasTokenSign(text: string): boolean {
  return SIGN.test(text);
}

/** @param isCut whether the text is the start of a longer one, whose last word may be half a credential */
export function hideTokens(text: string, replacement: string, isCut: boolean): string {
  const hide = (): string => replacement;
  let clean = text.replace(KNOWN, hide);
  if (!clean.includes("eyJ")) return clean;
  clean = clean.replace(WEB_TOKEN, hide);
  return isCut ? clean.replace(CUT_WEB_TOKEN, hide) : clean;
}
