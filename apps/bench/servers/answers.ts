/** What came over a connection is not a whole answer yet. */
export const INCOMPLETE: unique symbol = Symbol("incomplete");

const HEAD_END = Buffer.from("\r\n\r\n");
const LAST_CHUNK = Buffer.from("0\r\n\r\n");

/** What is wrong with the bytes of an HTTP/1.1 answer whose body should be `answer`; `undefined` where nothing is. */
export function wrongAnswer(received: Buffer, answer: string): string | undefined | typeof INCOMPLETE {
  const end = received.indexOf(HEAD_END);
  if (end === -1) return INCOMPLETE;
  const head = received.toString("latin1", 0, end);
  const body = received.subarray(end + HEAD_END.length);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  const isChunked = length === undefined && /\r\ntransfer-encoding: *chunked/i.test(head);
  if (isChunked ? !body.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK) : body.length < Number(length ?? 0)) {
    return INCOMPLETE;
  }
  const text = isChunked ? unchunked(body) : body.toString();
  if (!head.startsWith("HTTP/1.1 200")) return `${head.split("\r\n", 1)[0]}: ${text.slice(0, 200)}`;
  return text === answer ? undefined : `the body is another one: ${text.slice(0, 200)}`;
}

function unchunked(body: Buffer): string {
  const chunks: Buffer[] = [];
  for (let at = 0; ;) {
    const line = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.toString("latin1", at, line), 16);
    if (!(size > 0)) return Buffer.concat(chunks).toString();
    chunks.push(body.subarray(line + 2, line + 2 + size));
    at = line + 4 + size;
  }
}
