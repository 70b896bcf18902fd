/** The options that are pg's Client's own. It checks none of them: what is wrong shows in the middle of a login. */
import { describeKind } from "@vg/internal";

/** What is asked of a check of options. */
interface Check {
  raw(name: string): unknown;
  refuse(name: string, rule: string): Error;
}

interface Rule {
  readonly holds: (value: unknown) => boolean;
  readonly text: string;
}

const isNumber = (value: unknown): boolean =>
  typeof value === "number" ? value >= 0 : typeof value === "string" && /^\d*$/.test(value);
const hasMethod = (value: unknown, name: string): boolean =>
  typeof (value as Record<string, unknown> | undefined)?.[name] === "function";

const TEXT: Rule = { holds: (value) => typeof value === "string", text: "a string" };
const FLAG: Rule = { holds: (value) => typeof value === "boolean", text: "true or false" };
const COUNT: Rule = { holds: isNumber, text: "a number of at least 0" };
const DURATION: Rule = {
  holds: (value) => value === false || isNumber(value),
  text: "a number of milliseconds of at least 0 (none)",
};

const RULES: Record<string, Rule> = {
  user: TEXT,
  password: {
    holds: (value) => typeof value === "string" || typeof value === "function",
    text: "a string, or a function that gives one",
  },
  host: TEXT,
  port: { holds: isNumber, text: "a whole number from 1 to 65535" },
  database: TEXT,
  ssl: {
    holds: (value) =>
      typeof value === "boolean" || typeof value === "object" || value === "true" || value === "no-verify",
    text: "true, false or an object of TLS options",
  },
  sslnegotiation: TEXT,
  enableChannelBinding: FLAG,
  scramMaxIterations: COUNT,
  keepAlive: FLAG,
  keepAliveInitialDelayMillis: COUNT,
  stream: {
    holds: (value) => typeof value === "function" || (hasMethod(value, "connect") && hasMethod(value, "write")),
    text: "a socket, or a function that makes one",
  },
  types: { holds: (value) => hasMethod(value, "getTypeParser"), text: "an object with getTypeParser()" },
  binary: FLAG,
  options: TEXT,
  replication: {
    holds: (value) => typeof value === "boolean" || typeof value === "string",
    text: "true, false or a string",
  },
  client_encoding: TEXT,
  application_name: TEXT,
  fallback_application_name: TEXT,
  statement_timeout: DURATION,
  lock_timeout: DURATION,
  idle_in_transaction_session_timeout: DURATION,
};

/** What `parse()` of pg-connection-string leaves beside the `ssl` that it has made of them. */
const PARSED_OPTIONS = ["sslmode", "sslcert", "sslkey", "sslrootcert", "uselibpqcompat"] as const;

/** Those that are given, of the type that pg needs them to be; `null` is pg's other word for absent. */
export function readClientOptions(check: Check, fail: (message: string) => Error): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (const [name, { holds, text }] of Object.entries(RULES)) {
    const value = check.raw(name);
    if (value === undefined) continue;
    if (value !== null && !holds(value)) {
      if (name === "password") throw fail(`options: ${name} must be ${text}, got ${describeKind(value)}.`);
      throw check.refuse(name, text);
    }
    given[name] = value;
  }
  for (const name of PARSED_OPTIONS) check.raw(name);
  return given;
}
