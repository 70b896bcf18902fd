/** A model of the service: a specialist for a domain, served by whatever the upstream runs behind its id. */
export interface Model {
  readonly id: string;
  readonly name: string;
  /** The domain that `auto` picks it for. */
  readonly domain: string;
  readonly layer: string;
  readonly team: string;
  readonly tags: readonly string[];
  /** Words that speak for the domain, lower case; `auto` counts them. */
  readonly keywords: readonly string[];
  /** Completion tokens at most. */
  readonly max_tokens: number;
  /** The default where a request names none. */
  readonly temperature: number;
  /** Asked when the upstream does not have this model. */
  readonly fallback_model?: string;
}

export const GENERAL = "general";

export const MODELS: readonly Model[] = [
  {
    id: "0x5678-SQLAgent",
    name: "SQL Agent",
    domain: "sql-agent",
    layer: "layer4",
    team: "database",
    tags: ["sql", "database", "postgresql"],
    keywords: [
      "sql",
      "query",
      "queries",
      "select",
      "join",
      "table",
      "tables",
      "database",
      "postgres",
      "postgresql",
      "index",
      "indexes",
      "schema",
      "transaction",
      "transactions",
      "row",
      "rows",
      "column",
      "columns",
      "insert",
      "update",
      "where",
    ],
    max_tokens: 4096,
    temperature: 0.7,
    fallback_model: GENERAL,
  },
  {
    id: "0x3579-VectorProcessingAgent",
    name: "Vector Processing Agent",
    domain: "vector-processing",
    layer: "layer4",
    team: "search",
    tags: ["vectors", "embeddings", "similarity-search"],
    keywords: [
      "vector",
      "vectors",
      "embedding",
      "embeddings",
      "similarity",
      "similar",
      "cosine",
      "nearest",
      "neighbour",
      "neighbours",
      "neighbor",
      "neighbors",
      "semantic",
      "retrieval",
      "dimension",
      "dimensions",
      "search",
    ],
    max_tokens: 4096,
    temperature: 0.7,
    fallback_model: GENERAL,
  },
  {
    id: "0x9ABC-DataAnalysisAgent",
    name: "Data Analysis Agent",
    domain: "data-analysis",
    layer: "layer4",
    team: "analytics",
    tags: ["statistics", "analysis", "reporting"],
    keywords: [
      "analyse",
      "analyze",
      "analysis",
      "statistics",
      "average",
      "mean",
      "median",
      "percentile",
      "percentiles",
      "trend",
      "trends",
      "correlation",
      "regression",
      "chart",
      "dataset",
      "csv",
      "outlier",
      "outliers",
      "distribution",
      "report",
    ],
    max_tokens: 4096,
    temperature: 0.7,
    fallback_model: GENERAL,
  },
  {
    id: GENERAL,
    name: "General",
    domain: GENERAL,
    layer: "layer4",
    team: "platform",
    tags: ["general"],
    keywords: [],
    max_tokens: 4096,
    temperature: 0.7,
  },
];

const byId = new Map(MODELS.map((model) => [model.id, model]));

export function findModel(id: string): Model | undefined {
  return byId.get(id);
}

/**
 * The model whose keywords occur most often in the text, each word counted once; the general one where none occurs.
 * At a tie the first in the catalogue wins.
 *
 * @param domains only models of these domains count; all where it is empty or absent
 */
export function detectModel(text: string, domains?: readonly string[]): Model {
  const words = new Set(text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? []);
  const allowed =
    domains === undefined || domains.length === 0 ? MODELS : MODELS.filter((m) => domains.includes(m.domain));
  let best = allowed.find((model) => model.id === GENERAL) ?? allowed[0] ?? (MODELS.at(-1) as Model);
  let bestScore = 0;
  for (const model of allowed) {
    const score = model.keywords.filter((word) => words.has(word)).length;
    if (score > bestScore) [best, bestScore] = [model, score];
  }
  return best;
}
