import type { HttpPoolOptions } from "@vg/pool-http";
import { outgoingHeaders } from "./request-context.ts";

type PoolHeaders = HttpPoolOptions["headers"];
type HeaderRecord = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** The headers of a pool's calls: those that it is configured with, and the trace of the request that makes the call. */
export function withTraceHeaders(own: PoolHeaders): () => HeaderRecord {
  if (typeof own === "function") return () => ({ ...outgoingHeaders(), ...recordOf(own()) });
  const known = recordOf(own);
  return () => ({ ...outgoingHeaders(), ...known });
}

/** By lower-case names, so that one that is configured stands in the place of ours. */
function recordOf(headers: Exclude<PoolHeaders, () => unknown>): HeaderRecord {
  if (headers === undefined) return {};
  const pairs = Symbol.iterator in headers ? [...headers] : Object.entries(headers);
  const record: Record<string, string | number | readonly string[] | undefined> = {};
  for (const [name, value] of pairs) {
    const key = name.toLowerCase();
    const before = record[key];
    record[key] = before === undefined || value === undefined ? value : [before, value].flat().map(String);
  }
  return record;
}
