import { readUsage } from "../usage/usage-reader.ts";
import { ApiError } from "./api-error.ts";
import type { Call } from "./call.ts";
import { sendJson } from "./http.ts";

const MAX_LIMIT = 1_000;
/** A reader sees its own request's row unless the database is slower than this. */
const OWN_ROW_MS = 500;

/** GET /v2/usage?limit=&model=&workflow_id= */
export async function handleUsage({ response, query, context, parts }: Call): Promise<void> {
  const { dbPool } = parts.server;
  if (dbPool === undefined || parts.usage === undefined) {
    throw new ApiError("service_unavailable", "No database is configured, so usage is not recorded; set POSTGRES_DSN.");
  }
  const limit = parseLimit(query.get("limit"));
  const model = parseFilter(query, "model");
  const workflowId = parseFilter(query, "workflow_id");
  await parts.usage.settled(OWN_ROW_MS);
  let page: Awaited<ReturnType<typeof readUsage>>;
  try {
    page = await readUsage(dbPool, { limit, model, workflowId }, context.signal);
  } catch (cause) {
    // What the database itself refuses is a fault of ours; the rest is its absence.
    if (context.signal.aborted || isSqlError(cause)) throw cause;
    throw new ApiError("service_unavailable", "The database does not answer; usage is kept in memory until it does.", {
      cause,
      retryAfterSeconds: 5,
    });
  }
  const { data, totals } = page;
  sendJson(response, 200, { object: "list", count: data.length, data, totals, writer: parts.usage.getStats() });
}

function parseFilter(query: URLSearchParams, name: string): string | undefined {
  const text = query.get(name) ?? undefined;
  if (text !== undefined && (text.length > 256 || text.includes("\0"))) {
    throw new ApiError("invalid_request", `${name} must be a text of at most 256 characters.`, { param: name });
  }
  return text;
}

function parseLimit(text: string | null): number {
  if (text === null) return 50;
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > MAX_LIMIT) {
    throw new ApiError("invalid_request", `limit must be a whole number from 1 to ${MAX_LIMIT}.`, { param: "limit" });
  }
  return limit;
}

/** An error with an SQLSTATE that is not about the server's state (57P..: going down, 53...: out of resources). */
function isSqlError(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && !/^(08|53|57)/.test(code);
}
