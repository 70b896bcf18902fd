const PLAIN = 0;
const NEEDS_LOOK = 1;
/** Suspicious only beside another: the dash of `-----BEGIN`, and the space behind `Bearer` and `Basic`. */
const DASH = 2;
const SPACE = 3;

/** What each character of ASCII may be the sign of; see `NEEDS_CARE`. */
const SIGNS = new Uint8Array(128);
for (let code = 0; code < 32; code++) SIGNS[code] = NEEDS_LOOK;
for (const character of '"\\=:\u007f') SIGNS[character.charCodeAt(0)] = NEEDS_LOOK;
SIGNS["-".charCodeAt(0)] = DASH;
SIGNS[" ".charCodeAt(0)] = SPACE;

/** For longer texts the regular expression is as fast. */
const SHORT = 48;

/**
 * Whether a short text is surely plain, so that `NEEDS_CARE` need not be asked: true only for what it does not match.
 * Most texts of a line are names, ids and words, for which starting a regular expression takes longer than this loop.
 */
export function isShortAndPlain(text: string): boolean {
  const { length } = text;
  if (length > SHORT) return false;
  let before = 0;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return false;
    const sign = SIGNS[code] as number;
    if (sign !== PLAIN) {
      if (sign === NEEDS_LOOK || (sign === DASH && before === code) || (sign === SPACE && endsScheme(before)))
        return false;
    }
    before = code;
  }
  return true;
}

/** The last letters of `Bearer`, `BEARER`, `Basic`, and of words of which one can't tell. */
function endsScheme(code: number): boolean {
  const lower = code | 32;
  return lower === 114 || lower === 99;
}
