import type { DbPool } from "@vg/pool-db";

export interface UsageQuery {
  /** Rows at most, newest first. */
  limit: number;
  model?: string | undefined;
  workflowId?: string | undefined;
}

const READ_TIMEOUT_MS = 5_000;

/** The newest rows and the totals of all rows that match. Before the first row is written there is no table, and nothing. */
export async function readUsage(pool: DbPool, { limit, model, workflowId }: UsageQuery, signal: AbortSignal) {
  const filter = "where ($1::text is null or model = $1) and ($2::text is null or workflow_id = $2)";
  const values = [model ?? null, workflowId ?? null];
  const options = { signal, timeoutMs: READ_TIMEOUT_MS };
  try {
    const { rows } = await pool.query(
      `select request_id, trace_id, created_at, route, status, model, domain, prompt_tokens, completion_tokens,
         total_tokens, latency_ms, cache_hit, workflow_id, user_id, session_id
       from vg_usage ${filter} order by created_at desc, id limit $3`,
      [...values, limit],
      options,
    );
    const totals = await pool.queryRow(
      `select count(*)::int as requests, count(*) filter (where cache_hit)::int as cache_hits,
         coalesce(sum(total_tokens), 0)::float8 as total_tokens, coalesce(avg(latency_ms), 0) as avg_latency_ms
       from vg_usage ${filter}`,
      values,
      options,
    );
    return { data: rows, totals };
  } catch (error) {
    if (isMissingTable(error))
      return { data: [], totals: { requests: 0, cache_hits: 0, total_tokens: 0, avg_latency_ms: 0 } };
    throw error;
  }
}

function isMissingTable(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "42P01";
}
