/** The requests of the access logs' comparison, which its client sends in turns, and what comes of each. */

export interface Exchange {
  readonly path: string;
  readonly query: string;
  readonly status: number;
  readonly body: string;
}

/** A program's requests repeat few templates with other values; one of eight finds nothing. */
export const EXCHANGES: readonly Exchange[] = Array.from({ length: 8 }, (_, id) => {
  const status = id === 7 ? 404 : 200;
  const document = { object: "item", id, found: status === 200, text: "It has one line in the access log. ".repeat(3) };
  return { path: `/v2/items/${id}`, query: `page=${id + 1}&limit=50`, status, body: JSON.stringify(document) };
});

export const USER_AGENT = "vg-bench/1.0 (access log)";

/** A whole request, as it goes over the wire. */
export function requestOf({ path, query }: Exchange): string {
  const head = [
    `GET ${path}?${query} HTTP/1.1`,
    "Host: 127.0.0.1",
    `User-Agent: ${USER_AGENT}`,
    "Accept: application/json",
    "Accept-Encoding: identity",
  ];
  return `${head.join("\r\n")}\r\n\r\n`;
}
