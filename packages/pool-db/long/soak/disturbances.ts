import { setTimeout as delay } from "node:timers/promises";
import type { DbPool } from "../../src/index.ts";
import type { FaultProxy, Link } from "../../test/fault-proxy.ts";

export interface Site {
  readonly proxy: FaultProxy;
  readonly pools: readonly DbPool[];
  readonly random: () => number;
  /** On a connection of its own. */
  ask(text: string): Promise<unknown>;
}

const SESSIONS = "from pg_stat_activity where application_name like 'soak-%'";

async function forAWhile(site: Site, begin: (link: Link) => void): Promise<void> {
  const links = [...site.proxy.links];
  const link = links[Math.floor(site.random() * links.length)];
  if (link === undefined) return;
  begin(link);
  await delay(site.random() * 800);
  link.heal();
}

/** What the network, the server's administrators and the pools' owners do meanwhile. */
export const DISTURBANCES: Readonly<Record<string, (site: Site) => Promise<unknown>>> = {
  "a session terminated": ({ ask }) => ask(`select pg_terminate_backend(pid) ${SESSIONS} order by random() limit 1`),
  "a few sessions terminated": ({ ask }) =>
    ask(`select pg_terminate_backend(pid) ${SESSIONS} order by random() limit 5`),
  "all sessions terminated": ({ ask }) => ask(`select pg_terminate_backend(pid) ${SESSIONS}`),
  "queries cancelled": ({ ask }) => ask(`select pg_cancel_backend(pid) ${SESSIONS} order by random() limit 3`),
  "a connection reset": (site) => forAWhile(site, (link) => link.reset()),
  "a connection half-closed": (site) => forAWhile(site, (link) => link.halfClose()),
  "a connection swallowed": (site) => forAWhile(site, (link) => link.blackHole()),
  "a connection that drips": (site) => forAWhile(site, (link) => (link.toClient.drips = true)),
  "a connection cut within a row": (site) =>
    forAWhile(site, (link) => void link.toClient.stopAt("DataRow", { keep: 9 }).then(() => link.reset())),
  "a slow network": async (site) => {
    for (const link of site.proxy.links) link.delay(10);
    await delay(300);
    for (const link of site.proxy.links) link.heal();
  },
  "logins swallowed": async (site) => {
    site.proxy.onLink = (link) => link.blackHole();
    await delay(site.random() * 1_000);
    site.proxy.heal();
  },
  "the pools reset": async ({ pools }) => {
    for (const pool of pools) pool.reset();
  },
  "smaller pools": async ({ pools, random }) => {
    const before = pools.map((pool) => pool.getStats().max_open_connections);
    for (const pool of pools) pool.configure({ maxOpenConns: 3, maxIdleConns: 1 });
    await delay(random() * 1_000);
    for (const [n, pool] of pools.entries()) pool.configure({ maxOpenConns: before[n], maxIdleConns: 4 });
  },
  "the pools warmed up": ({ pools }) =>
    Promise.all(pools.map((pool) => pool.warm(4, { timeoutMs: 500 }).catch(() => undefined))),
  "the port refuses": async ({ proxy, random }) => {
    proxy.refuse();
    await delay(random() * 500);
    await proxy.listen();
  },
};
