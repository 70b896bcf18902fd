import type { Case, Comparison, ContenderSpec, Environment, Observed } from "../harness/comparison.ts";
import type { Answer } from "../harness/contender.ts";
import { Progress } from "../harness/progress.ts";
import { numberField } from "../harness/values.ts";
import { startServerProcess } from "./server-process.ts";

type Body = "json" | "blob";

/** What one request is, and who asks. */
interface Cell {
  readonly body: Body;
  readonly streamed: boolean;
  readonly tls: boolean;
  readonly callers: number;
  /** As many as callers, but in one setting. */
  readonly connections: number;
}

interface Setting {
  readonly name: string;
  readonly title: string;
  readonly cells: readonly Cell[];
  readonly ours: ContenderSpec;
  readonly rivals: (cell: Cell) => readonly ContenderSpec[];
  /** Those that a quick run shows. */
  readonly quick: (cell: Cell) => boolean;
}

const MANY = 50;
const FEW = 10;

const BODIES: readonly Body[] = ["json", "blob"];
const EITHER = [false, true];
/** As many connections as callers. */
const CELLS: readonly Cell[] = EITHER.flatMap((streamed) =>
  EITHER.flatMap((tls) =>
    BODIES.flatMap((body) => [1, MANY].map((callers) => ({ streamed, tls, body, callers, connections: callers }))),
  ),
);
const plainJson = ({ tls, body, callers }: Cell): boolean => !tls && body === "json" && callers === MANY;
const tlsBlob = ({ tls, body, callers }: Cell): boolean => tls && body === "blob" && callers === MANY;

const POOL: ContenderSpec = { name: "@vg/pool-http", library: "@vg/pool-http" };
const POOL_FETCH: ContenderSpec = { ...POOL, name: "@vg/pool-http fetch" };
const REQUEST: ContenderSpec = { name: "undici request", library: "undici" };
const FETCH: ContenderSpec = { name: "undici fetch", library: "undici" };

const SETTINGS: readonly Setting[] = [
  {
    name: "buffered",
    title: "Beside undici, the body as a whole; as many connections as callers",
    cells: CELLS.filter(({ streamed }) => !streamed),
    ours: POOL,
    rivals: () => [{ ...REQUEST, bar: 1 }, FETCH],
    quick: plainJson,
  },
  {
    name: "streamed",
    title: "Beside undici, the body piece by piece; as many connections as callers",
    cells: CELLS.filter(({ streamed }) => streamed),
    ours: POOL,
    rivals: () => [{ ...REQUEST, bar: 1 }, FETCH],
    quick: tlsBlob,
  },
  {
    name: "others",
    title: `Beside got, axios, ky and Node's own, ${MANY} callers and connections`,
    cells: CELLS.filter(({ callers }) => callers === MANY),
    ours: POOL,
    rivals: ({ body }) => [
      { name: "got", library: "got", bar: body === "json" ? 4 : 2 },
      { name: "axios", library: "axios", bar: body === "json" ? 4 : 2 },
      { name: "ky", library: "ky", bar: body === "json" ? 3.5 : 2 },
      { name: "node:http", library: "node" },
    ],
    quick: (cell) => (cell.streamed ? tlsBlob(cell) : plainJson(cell)),
  },
  {
    name: "fetch",
    title: "`pool.fetch` beside undici's `fetch`; as many connections as callers",
    // Streams by one caller are left out for the time that they take.
    cells: CELLS.filter(({ streamed, callers }) => !streamed || callers === MANY),
    ours: POOL_FETCH,
    rivals: () => [{ ...FETCH, bar: 1 }],
    quick: (cell) => (cell.streamed ? tlsBlob(cell) : plainJson(cell)),
  },
  {
    name: "few",
    title: `${MANY} callers on ${FEW} connections, the body as a whole`,
    cells: CELLS.filter(({ streamed, callers }) => !streamed && callers === MANY).map((cell) => ({
      ...cell,
      connections: FEW,
    })),
    ours: POOL,
    rivals: () => [REQUEST, FETCH],
    quick: plainJson,
  },
];

function makeCase(setting: Setting, cell: Cell): Case {
  const { body, streamed, tls, callers, connections } = cell;
  const what = body === "json" ? "small JSON" : "64 KiB";
  const words = [
    what,
    streamed ? "streamed" : "buffered",
    tls ? "TLS" : "plain",
    callers === 1 ? "1 caller" : `${callers} callers`,
  ];
  return {
    name: [setting.name, body, callers, tls ? "tls" : "plain", streamed ? "streamed" : "buffered"].join("-"),
    title: words.join(", "),
    setting: setting.title,
    fullOnly: !setting.quick(cell),
    parameters: { body, streamed, tls, callers, connections },
    server: { callers },
    // TLS adds the same to all, and more callers nothing.
    allocations: !tls && callers === MANY && connections === callers,
    contenders: [setting.ours, ...setting.rivals(cell)],
    batch: callers === 1 ? 50 : 300,
    check: (answer, operations) => whatIsWrong(answer, operations, cell),
  };
}

/** Each request came to the server once, over no more connections than allowed, and each body was right. */
function whatIsWrong(answer: Answer, operations: number, { callers, connections }: Cell): string | undefined {
  const fair =
    answer["right"] === operations &&
    answer["wrong"] === 0 &&
    // Those of the preparation are served, too.
    answer["served"] === operations + callers &&
    answer["pipelined"] === 0 &&
    numberField(answer, "connections") <= connections;
  if (fair) return undefined;
  const expected = { right: operations, wrong: 0, served: operations + callers, pipelined: 0 };
  return `got ${JSON.stringify(answer)}, expected ${JSON.stringify(expected)} over at most ${connections} connections`;
}

async function start(): Promise<Environment> {
  const [{ selfSigned }, { hasFetch }] = await Promise.all([import("./certificate.ts"), import("./http-clients.ts")]);
  const tls = await selfSigned();
  const server = startServerProcess(new URL("./responder-process.ts", import.meta.url));
  const ports = await server.ask({ type: "listen", ...tls });
  const missing = (await hasFetch()) ? undefined : "this build of @vg/pool-http has no pool.fetch";
  return {
    parameters: {
      plainOrigin: `http://localhost:${numberField(ports, "plain")}`,
      tlsOrigin: `https://localhost:${numberField(ports, "tls")}`,
      ca: tls.cert,
    },
    whyNot: ({ contenders }) => (contenders[0] === POOL_FETCH ? missing : undefined),
    observed: async () => (await server.ask({ type: "observed" })) as Observed,
    stop: () => server.stop(),
  };
}

export const comparison: Comparison = {
  name: "pool-http",
  title: "HTTP pool: the same requests to the same server, HTTP/1.1 without pipelining",
  packages: ["@vg/pool-http"],
  module: new URL("./pool-http-contenders.ts", import.meta.url),
  start,
  warmUpMs: 1_500,
  budgetMs: { full: 900_000, quick: 16_000 },
  cases: SETTINGS.flatMap((setting) => setting.cells.map((cell) => makeCase(setting, cell))),
  async yardstick(_, quick) {
    const { httpsGain } = await import("../guide/https.ts");
    return await httpsGain(quick, new Progress());
  },
};
