import { chown, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import pg from "pg";
import { generate } from "selfsigned";
import { until } from "./support.ts";

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** One that vouches for itself, for 127.0.0.1 and localhost. */
export async function certificate(): Promise<Certificate> {
  const made = await generate([{ name: "commonName", value: "test server" }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
        ],
      },
    ],
  });
  return { cert: made.cert, key: made.private };
}

/** Lets a server speak TLS to those who ask for it, and returns the certificate that it shows. */
export async function serveTls(server: EmbeddedPostgres): Promise<Certificate> {
  const trusted = await certificate();
  // The server may run as another user, who must own its key.
  const { uid, gid } = await stat(server.dataDir);
  for (const [name, text] of [
    ["server.crt", trusted.cert],
    ["server.key", trusted.key],
  ] as const) {
    const file = join(server.dataDir, name);
    await writeFile(file, text, { mode: 0o600 });
    await chown(file, uid, gid);
  }
  const client = new pg.Client(server.dsn);
  await client.connect();
  await client.query("alter system set ssl = on");
  await client.query("select pg_reload_conf()");
  await client.end();
  await until("the server speaks TLS", async () => {
    const secured = new pg.Client({ connectionString: server.dsn, ssl: { ca: trusted.cert } });
    return secured.connect().then(
      () => secured.end().then(() => true),
      () => false,
    );
  });
  return trusted;
}
