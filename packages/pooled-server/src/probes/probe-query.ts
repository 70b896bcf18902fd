/** What a prober may say in the query of a probe, as with a Kubernetes API server. */
export interface ProbeQuery {
  /** `?verbose`: name the checks. */
  readonly verbose: boolean;
  /** `?exclude=name`, any number of times: as if this check did not exist. */
  readonly exclude: ReadonlySet<string>;
}

const NOTHING_ASKED: ProbeQuery = { verbose: false, exclude: new Set() };

export function readProbeQuery(url: string | undefined): ProbeQuery {
  const start = url?.indexOf("?") ?? -1;
  if (url === undefined || start === -1) return NOTHING_ASKED;
  const query = new URLSearchParams(url.slice(start));
  const verbose = query.get("verbose");
  return {
    verbose: verbose !== null && verbose !== "0" && verbose !== "false",
    exclude: new Set(query.getAll("exclude")),
  };
}
