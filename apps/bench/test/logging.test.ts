import assert from "node:assert/strict";
import { test } from "node:test";
import { readLines } from "../comparisons/access-log-contenders.ts";
import { EXCHANGES, requestOf, USER_AGENT } from "../comparisons/access-log-traffic.ts";
import { comparison } from "../comparisons/logging.ts";
import { canonicalLine, expectedLines, idsOf, LINES_A_REQUEST } from "../comparisons/logging-workload.ts";

const time = (): string => new Date().toISOString();

void test("each request of the case with a context has ids of its own, which its lines must carry", () => {
  const lines = expectedLines("context", 2 * LINES_A_REQUEST, "");
  const spans = lines.map(({ fields }) => fields["span_id"]);
  assert.equal(new Set(spans.slice(0, LINES_A_REQUEST)).size, 1);
  assert.equal(new Set(spans).size, 2);
  assert.deepEqual(lines.at(-1)?.fields["span_id"], idsOf(LINES_A_REQUEST).span_id);
});

void test("callers are compared by their file, however a logger writes them, and none is not one", () => {
  const line = (caller?: string): string => JSON.stringify({ level: "info", time: time(), message: "m", caller });
  assert.equal(canonicalLine(line("comparisons/loggers.ts:81")).caller, "loggers.ts");
  assert.equal(canonicalLine(line("flat (file:///x/comparisons/loggers.ts:81:26)")).caller, "loggers.ts");
  assert.equal(canonicalLine(line("node_modules/pino/lib/tools.js:53")).caller, "");
  assert.equal(canonicalLine(line()).caller, "");
});

const [item] = EXCHANGES;

function ourLine(fields: object = {}): string {
  const { path, query, body } = item!;
  return `${JSON.stringify({
    level: "info",
    time: time(),
    message: "http_request",
    request_id: "a",
    method: "GET",
    path,
    status_code: 200,
    latency_ms: 0.2,
    query,
    request_bytes: 0,
    response_bytes: body.length,
    client_address: "127.0.0.1",
    user_agent: USER_AGENT,
    http_version: "1.1",
    ...fields,
  })}\n`;
}

void test("every line of an access log is counted and compared with its request", () => {
  const right = { lines: 1, requests: 1, ofEach: [1], wrongLine: "" };
  assert.deepEqual(readLines(ourLine({ ttfb_ms: 0.1 }), true), right);
  assert.deepEqual(readLines(ourLine().repeat(2), true), { ...right, lines: 2, ofEach: [2] });
  for (const wrong of [{ status_code: 404 }, { query: "page=9" }, { path: "/v2/items/9" }, { latency_ms: "1" }]) {
    assert.notEqual(readLines(ourLine(wrong), true)["wrongLine"], "", JSON.stringify(wrong));
  }
});

void test("a line of pino-http as it comes is compared by its own names", () => {
  const { path, query } = item!;
  const headers = { "user-agent": USER_AGENT };
  const req = { id: 1, method: "GET", url: `${path}?${query}`, headers, remoteAddress: "127.0.0.1" };
  const line = {
    level: 30,
    time: Date.now(),
    req,
    res: { statusCode: 200 },
    responseTime: 1,
    msg: "request completed",
  };
  assert.equal(readLines(`${JSON.stringify(line)}\n`, false)["wrongLine"], "");
  assert.notEqual(readLines(`${JSON.stringify({ ...line, msg: "request errored" })}\n`, false)["wrongLine"], "");
});

void test("requests are whole, and a round has each of them equally often", () => {
  assert.match(requestOf(item!), /^GET \/v2\/items\/0\?page=1&limit=50 HTTP\/1\.1\r\n[^]*\r\n\r\n$/);
  const access = comparison.cases.filter(({ rate }) => rate !== undefined);
  assert.deepEqual(
    access.map(({ batch }) => batch % EXCHANGES.length),
    [0, 0],
  );
});

void test("an access log that lost a line, or a request that was answered wrongly, disqualifies; without a log there is none", () => {
  const one = comparison.cases.find(({ name }) => name === "access")!;
  const [ours] = one.contenders;
  const none = one.contenders.find(({ differs }) => differs !== undefined);
  const answer = { right: 800, wrong: 0, lines: 800, requests: 800, ofEach: [100], wrongLine: "" };
  assert.equal(one.check(answer, 800, ours!), undefined);
  assert.equal(one.check({ ...answer, lines: 0, requests: 0, ofEach: [] }, 800, none!), undefined);
  for (const wrong of [
    { lines: 799 },
    { requests: 799 },
    { right: 799, wrong: 1 },
    { ofEach: [99, 100] },
    { wrongLine: "x" },
  ]) {
    assert.match(one.check({ ...answer, ...wrong }, 800, ours!) ?? "", /^got /);
  }
});
