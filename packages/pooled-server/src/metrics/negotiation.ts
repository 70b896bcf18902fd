/** Which format a scraper gets, by its Accept header; and whether compressed, by its Accept-Encoding. */

export interface Format {
  readonly openMetrics: boolean;
  readonly contentType: string;
}

/** Prometheus 3 refuses an answer without it. */
export const TEXT: Format = Object.freeze({
  openMetrics: false,
  contentType: "text/plain; version=0.0.4; charset=utf-8",
});

export const OPEN_METRICS: Format = Object.freeze({
  openMetrics: true,
  contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8",
});

/** Those under which names like ours stay as they are. */
const ESCAPING_SCHEMES = new Set(["underscores", "allow-utf-8", "values"]);

interface Range {
  /** As "text/plain" or "gzip", in lower case. */
  readonly value: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** 0 to 1. */
  readonly q: number;
}

/**
 * OpenMetrics for whoever names it and wants nothing else more; text for everybody else: browsers, `*`/`*`, and those who
 * name neither, since an answer that was not asked for says more than none.
 */
export function negotiateFormat(accept: string | undefined): Format {
  const ranges = rangesOf(accept ?? "");
  const openMetrics = ranges
    .filter(
      ({ value, parameters }) => value === "application/openmetrics-text" && isVersion(parameters, "1.0.0", "0.0.1"),
    )
    .reduce<Range | undefined>((best, range) => (best === undefined || range.q > best.q ? range : best), undefined);
  if (openMetrics === undefined || openMetrics.q === 0) return escaped(TEXT, textRange(ranges));
  const text = textRange(ranges);
  const named = text?.value === "text/plain";
  const first = named ? ranges.indexOf(openMetrics) < ranges.indexOf(text) : true;
  const textQ = text?.q ?? 0;
  if (openMetrics.q < textQ || (openMetrics.q === textQ && !first)) return escaped(TEXT, text);
  const version = openMetrics.parameters.get("version") ?? "1.0.0";
  const format = { ...OPEN_METRICS, contentType: OPEN_METRICS.contentType.replace("1.0.0", version) };
  return escaped(format, openMetrics);
}

/** The range that says the most about the text format. */
function textRange(ranges: readonly Range[]): Range | undefined {
  return (
    ranges
      .filter(({ value, parameters }) => value === "text/plain" && isVersion(parameters, "0.0.4"))
      .reduce<Range | undefined>((best, range) => (best === undefined || range.q > best.q ? range : best), undefined) ??
    ranges.find(({ value }) => value === "text/*") ??
    ranges.find(({ value }) => value === "*/*")
  );
}

function isVersion(parameters: ReadonlyMap<string, string>, ...versions: string[]): boolean {
  const version = parameters.get("version");
  return version === undefined || versions.includes(version);
}

/** Names here are letters, digits and `_`: every scheme that leaves those alone is answered as it was asked for. */
function escaped(format: Format, range: Range | undefined): Format {
  const asked = range?.parameters.get("escaping");
  if (asked === undefined) return format;
  const scheme = ESCAPING_SCHEMES.has(asked) ? asked : "underscores";
  return { ...format, contentType: `${format.contentType}; escaping=${scheme}` };
}

/** Whether gzip is asked for; who says nothing gets no compression. */
export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  const ranges = rangesOf(acceptEncoding ?? "");
  const gzip =
    ranges.find(({ value }) => value === "gzip" || value === "x-gzip") ?? ranges.find(({ value }) => value === "*");
  const identity = ranges.find(({ value }) => value === "identity");
  return gzip !== undefined && gzip.q > 0 && gzip.q >= (identity?.q ?? 0);
}

function rangesOf(header: string): Range[] {
  return split(header, ",").flatMap((part) => {
    const [value = "", ...rest] = split(part, ";");
    if (value === "") return [];
    const parameters = new Map<string, string>();
    for (const parameter of rest) {
      const [name = "", text = ""] = parameter.split(/=(.*)/su);
      parameters.set(name.trim().toLowerCase(), unquoted(text.trim()));
    }
    return [{ value: value.toLowerCase(), parameters, q: quality(parameters.get("q")) }];
  });
}

/** What is no number from 0 to 1 says nothing. */
function quality(text: string | undefined): number {
  const q = text === undefined || text === "" ? 1 : Number(text);
  return q >= 0 && q <= 1 ? q : 1;
}

function unquoted(text: string): string {
  return text.startsWith('"') && text.endsWith('"') && text.length > 1
    ? text.slice(1, -1).replaceAll(/\\(.)/gsu, "$1")
    : text;
}

/** The parts between separators that are not inside of quotes, trimmed. */
function split(text: string, separator: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (quoted && character === "\\") i++;
    else if (character === '"') quoted = !quoted;
    else if (character === separator && !quoted) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}
