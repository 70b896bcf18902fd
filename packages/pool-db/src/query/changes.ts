/**
 * What a statement may change of what names mean. A prepared statement keeps the types that its parameters had when it
 * was parsed, and often the table as well: the server does not mind that a column has another type now, or that a
 * temporary table stands before the one that was meant. So who prepares by itself has to know.
 *
 * Texts are only looked at, not parsed: a word too many costs that something is prepared anew.
 */
export type Changes =
  | "nothing"
  /** For its own session: a temporary table that comes or goes, another search path. */
  | "session"
  /** For all. */
  | "schema";

const TEMPORARY = /^create\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?:orary)?\b/i;
const CREATES = /^(?:create|alter)\b/i;
/** What else is dropped makes statements fail, or the server looks names up again by itself. What CALL does is not seen. */
const OF_ITS_SESSION = /^(?:drop|call|discard)\b/i;
/** Whose settings decide where a name leads. */
const PATH = /^(?:set|reset)\b[^]*\b(?:search_path|role|authorization|schema|all)\b/i;
const SETS_PATH = /\bset_config\s*\((?!\s*'(?!search_path|role)[\w.]+')/i;
const SELECT_INTO = /^(?:select|with)\b[^]*(?:\b|(?<=\d))into\b/i;
const INSERT_INTO = /\b(?:insert|merge)\s+into\b/gi;
const INTO_TEMPORARY = /\binto\s+(?:(?:local|global)\s+)?(?:temp(?:orary)?\b|pg_temp\b)/i;
/** In the body of DO, or somewhere in several statements. */
const CREATES_SOMEWHERE = /\b(?:create|alter|execute)\b/i;
const SESSION_SOMEWHERE = /\b(?:drop|call|discard|search_path|role|authorization|schema|set_config|into|do)\b/i;
const ON_CONFLICT_DO = /\bdo\s+(?:update|nothing)\b/gi;

/** `single`: one statement, and `text` begins with it. Otherwise several, or nobody knows what. */
export function changesOf(text: string, single: boolean): Changes {
  if (!single) return changesSomewhere(text);
  if (CREATES.test(text)) return TEMPORARY.test(text) ? "session" : "schema";
  if (/^do\b/i.test(text)) return CREATES_SOMEWHERE.test(text) ? "schema" : "session";
  if (OF_ITS_SESSION.test(text) || PATH.test(text) || SETS_PATH.test(text)) return "session";
  if (!SELECT_INTO.test(text) || !/\binto\b/i.test(text.replace(INSERT_INTO, ""))) return "nothing";
  return INTO_TEMPORARY.test(text) ? "session" : "schema";
}

function changesSomewhere(text: string): Changes {
  if (CREATES_SOMEWHERE.test(text)) return "schema";
  const rest = text.replace(INSERT_INTO, "").replace(ON_CONFLICT_DO, "");
  return SESSION_SOMEWHERE.test(rest) ? "session" : "nothing";
}

/** The greater of two. */
export function both(a: Changes, b: Changes): Changes {
  if (a === "schema" || b === "schema") return "schema";
  return a === "session" || b === "session" ? "session" : "nothing";
}
