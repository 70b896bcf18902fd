/** What an expression in PromQL speaks of, as far as our own rules and panels are written. */
export interface Mentioned {
  metrics: string[];
  /** Those of matchers and of `by (…)`, without Prometheus' own. */
  labels: string[];
}

const KEYWORDS = new Set(["by", "without", "on", "ignoring", "offset", "bool", "and", "or", "unless"]);
const OF_THE_TARGET = new Set(["job", "instance", "le"]);

export function mentioned(expression: string): Mentioned {
  const labels: string[] = [];
  const rest = expression
    .replaceAll(/#.*$/gm, "")
    .replaceAll(/"[^"]*"/g, '""')
    .replaceAll(/\{([^}]*)\}/g, (_, matchers: string) => {
      labels.push(...[...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, name]) => name ?? ""));
      return "";
    })
    .replaceAll(/\bby \(([^)]*)\)/g, (_, names: string) => {
      labels.push(...names.split(",").map((name) => name.trim()));
      return "";
    })
    .replaceAll(/\[[^\]]*\]/g, "");
  const metrics = [...rest.matchAll(/(?<!\w)[a-zA-Z_:][\w:]*(?!\s*\()(?!\w)/g)].map(([name]) => name);
  return {
    metrics: [...new Set(metrics.filter((name) => !KEYWORDS.has(name)))],
    labels: [...new Set(labels.filter((name) => !OF_THE_TARGET.has(name)))],
  };
}

/** The expressions of alert rules, without a reader of YAML: `expr:` with its text beside or, indented, below it. */
export function expressionsOf(rules: string): Map<string, string> {
  const expressions = new Map<string, string>();
  for (const rule of rules.split(/^ *- alert: /m).slice(1)) {
    const name = rule.slice(0, rule.indexOf("\n"));
    const [, text = ""] = /^ {8}expr: (?:\|\n)?(.*?)(?=^ {8}\w)/ms.exec(rule) ?? [];
    expressions.set(name, text.trim());
  }
  return expressions;
}
