import { changesOf, type Changes } from "./changes.ts";

/**
 * What can be told of a statement by looking at it. Nothing here parses SQL: where a text is not understood, the answer is
 * the careful one.
 */
export interface StatementKind {
  /**
   * One statement that the extended protocol runs as the simple one does: SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES,
   * TABLE or WITH. Such a statement leaves no transaction open, and it pays to prepare it.
   */
  readonly plain: boolean;
  /** Plain, and nothing in it is known to change the session or to hold on to it: strangers may share its connection. */
  readonly shareable: boolean;
  /** What it may change of what names mean. */
  readonly changes: Changes;
}

const SHAREABLE: StatementKind = { plain: true, shareable: true, changes: "nothing" };

const PLAIN_VERB = /^(?:select|insert|update|delete|merge|values|table|with)\b/i;
/**
 * What changes or depends on the session, takes a lock beyond the statement, makes it wait, or runs a text that is not
 * seen here.
 */
const SESSION =
  /\b(?:pg_settings|loread|lowrite|set_limit|pg_logical\w*|pg_create\w*|pg_drop\w*|pg_promote|pg_switch\w*|pg_wal\w*|pg_reload_conf|pg_rotate\w*|pg_wait\w*|pg_backup\w*|\w+_to_xml\w*|ts_stat|ts_rewrite|crosstab\w*)\b|\b(?:set_config|setseed|pg_(?:try_)?advisory_\w+|pg_notify|pg_sleep\w*|currval|lastval|setval|dblink\w*|lo_\w+|pg_export_snapshot|pg_(?:cancel|terminate)_backend|pg_(?:start_backup|backup_start)|pg_replication_origin_\w+|pg_temp\w*)\b/i;
/**
 * Row locks, behind which a statement may wait for long: one word, and somewhere behind it another. Comments may stand
 * between the two; older servers want no blank between a number and a word.
 */
const FOR = /(?:\b|(?<=\d))for(?:\s|\/\*|--)/i;
const LOCK = /\b(?:update|share)\b/i;
/** SELECT … INTO makes a table. */
const MAKES_TABLE = /^(?:select|with)\b[^]*(?:\b|(?<=\d))into\b/i;
/** A quoted name with escapes may be any name. */
const HIDDEN_NAME = /u&"/i;

/** Looks at the whole text once; its answer is worth remembering. */
export function classify(text: string): StatementKind {
  const start = skipBlank(text, 0);
  const single = isSingle(text, start);
  const statement = text.slice(start);
  const changes = changesOf(statement, single);
  const plain = single && PLAIN_VERB.test(statement) && !text.includes("\0");
  if (!plain) return { plain, shareable: false, changes };
  // Words in strings and comments, and INSERT INTO inside of WITH, are taken for them too: it only costs the sharing.
  const alone =
    changes !== "nothing" ||
    SESSION.test(text) ||
    HIDDEN_NAME.test(text) ||
    MAKES_TABLE.test(statement) ||
    locksRows(text);
  return alone ? { plain, shareable: false, changes } : SHAREABLE;
}

function locksRows(text: string): boolean {
  const at = text.search(FOR);
  return at !== -1 && LOCK.test(text.slice(at));
}

/** Whether it asks for data that the protocol sends beside it. */
export function copiesIn(text: string): boolean {
  return /^copy\b[^]*\bstdin\b/i.test(text.slice(skipBlank(text, 0)));
}

/** Whether nothing but blanks and comments follows the first semicolon that is not inside of quotes or a comment. */
function isSingle(text: string, from: number): boolean {
  if (!text.includes(";", from)) return true;
  let at = from;
  while (at < text.length) {
    const character = text[at] as string;
    if (character === ";") return skipBlank(text, at, true) === text.length;
    const after = skipQuoted(text, at, character);
    if (after === undefined) return false;
    at = after;
  }
  return true;
}

/** The place behind what begins at `at`: a quoted thing, a comment, or one character. `undefined`: not understood. */
function skipQuoted(text: string, at: number, character: string): number | undefined {
  if (character === "'") {
    // Whether a backslash escapes depends on a prefix and on a setting of the server.
    const end = text.indexOf("'", at + 1);
    if (end === -1 || text.slice(at, end).includes("\\")) return undefined;
    return end + 1;
  }
  if (character === '"') {
    const end = text.indexOf('"', at + 1);
    return end === -1 ? undefined : end + 1;
  }
  if (character === "-" && text[at + 1] === "-") return endOfLine(text, at);
  if (character === "/" && text[at + 1] === "*") return endOfComment(text, at);
  if (character === "$") {
    const before = text[at - 1] ?? "";
    if (before === "$") return undefined;
    // Behind a letter or a digit it is a part of a name.
    if (/[\w\u0080-\uffff]/.test(before)) return at + 1;
    const [tag] = /^\$(?:[a-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/i.exec(text.slice(at, at + 66)) ?? [];
    if (tag === undefined) return at + 1;
    const end = text.indexOf(tag, at + tag.length);
    return end === -1 ? undefined : end + tag.length;
  }
  return at + 1;
}

/** The place of the first character that is no blank and in no comment; with `semicolons`, no semicolon either. */
function skipBlank(text: string, from: number, semicolons = false): number {
  let at = from;
  for (;;) {
    const character = text[at];
    if (character === undefined) return at;
    if (character <= " " || (semicolons && character === ";")) at++;
    else if (character === "-" && text[at + 1] === "-") at = endOfLine(text, at);
    else if (character === "/" && text[at + 1] === "*") at = endOfComment(text, at) ?? text.length;
    else return at;
  }
}

/** A carriage return ends a line too. */
function endOfLine(text: string, at: number): number {
  const edge = /[\n\r]/g;
  edge.lastIndex = at;
  return edge.exec(text) === null ? text.length : edge.lastIndex;
}

/** Comments nest. `undefined` when it does not end. */
function endOfComment(text: string, at: number): number | undefined {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = at;
  for (let depth = 0; ;) {
    const found = edge.exec(text);
    if (found === null) return undefined;
    depth += found[0] === "/*" ? 1 : -1;
    if (depth === 0) return edge.lastIndex;
  }
}
