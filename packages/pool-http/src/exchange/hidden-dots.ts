/**
 * Whether a path has a way up that a URL parser does not see and a server may: "..%2f" is one segment to the one and two
 * to many of the others. So is "..;" to those that cut off parameters, "..%00" to those that read up to a zero, "..%c0%af"
 * to those that take UTF-8 in more bytes than it needs, "..%ef%bc%8f" (a full-width slash) to those that turn look-alikes
 * into ASCII, and all of it escaped once more to those that decode twice.
 */
export function hasHiddenDots(path: string): boolean {
  // A URL parser has escaped what is beyond ASCII, and resolved plain dots.
  if (!path.includes("%")) return WAY_UP.test(path);
  if (!MAY_HAVE_DOTS.test(path)) return false;
  let bytes = path;
  for (let pass = 0; ; pass++) {
    const decoded = bytes
      .replace(NESTED, "%")
      .replace(ESCAPE, (_, unicode: string | undefined, hex: string) => decode(unicode, hex))
      .replace(OVERLONG, shortest);
    if (decoded === bytes) break;
    // Nobody writes that, and no server decodes so often.
    if (pass === MOST_PASSES) return true;
    bytes = decoded;
  }
  return WAY_UP.test(Buffer.from(bytes, "latin1").toString("utf8").normalize("NFKC"));
}

/**
 * Two dots with escapes between them at most, or an escape that may become one: of a dot, of an escape, of overlong UTF-8,
 * of a look-alike. Most paths have nothing of it, and go no further.
 */
const MAY_HAVE_DOTS = /\.(?:%[0-9a-f]{2})*\.|%(?:2[5e]|[cef]0|ef%b[89c]|e2%80|(?![0-9a-f]{2}))/i;
const MOST_PASSES = 8;
/** The escape of an escape, however often: one step, so that a long one takes no longer. */
const NESTED = /%(?:25)+(?=u?[0-9a-f]{2})/gi;
const ESCAPE = /%(?:u([0-9a-f]{4})|([0-9a-f]{2}))/gi;
/** UTF-8 of a character of ASCII in two, three or four bytes. */
const OVERLONG = /[\xc0\xc1][\x80-\xbf]|\xe0[\x80\x81][\x80-\xbf]|\xf0\x80[\x80\x81][\x80-\xbf]/g;
/**
 * Two dots that are a segment: between separators (the slashes that some code pages make of others, too) or the ends,
 * with or without parameters, and whatever is invisible, or no character at all, among them.
 */
const WAY_UP =
  /(?:^|[/\\\u2044\u2215\u2216])[\s\p{Cc}\p{Cf}\ufffd]*\.[\s\p{Cc}\p{Cf}\ufffd]*\.[\s\p{Cc}\p{Cf}\ufffd]*(?:[/\\\u2044\u2215\u2216;\s\p{Cc}]|$)/u;

/** As bytes. */
function decode(unicode: string | undefined, hex: string): string {
  if (unicode === undefined) return String.fromCharCode(Number.parseInt(hex, 16));
  return Buffer.from(String.fromCharCode(Number.parseInt(unicode, 16))).toString("latin1");
}

function shortest(bytes: string): string {
  const last = bytes.charCodeAt(bytes.length - 1) & 0x3f;
  return String.fromCharCode(((bytes.charCodeAt(bytes.length - 2) & 0x01) << 6) | last);
}
