import { createServer } from "node:http";
import { once } from "node:events";
import connectPgSimple from "connect-pg-simple";
import session from "express-session";
import { expect, test } from "vitest";
import { useLibrary } from "./support.ts";

const library = useLibrary("connect-pg-simple");

type Handler = (request: unknown, response: unknown, next: (error?: unknown) => void) => void;

test("connect-pg-simple: sessions of real requests are kept, renewed and destroyed", async () => {
  const pool = library.pool();
  const Store = connectPgSimple(session);
  const store = new Store({ pool, createTableIfMissing: true, pruneSessionInterval: false });
  const middleware = session({ secret: "for a test", store, resave: false, saveUninitialized: false }) as Handler;
  const server = createServer((request, response) => {
    middleware(request, response, (error) => {
      const current = (request as unknown as { session: session.Session & { visits?: number } }).session;
      if (error !== undefined) {
        response.writeHead(500).end();
      } else if (request.url === "/leave") {
        current.destroy(() => response.end("left"));
      } else {
        current.visits = (current.visits ?? 0) + 1;
        response.end(String(current.visits));
      }
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const visit = async (path: string, cookie = ""): Promise<{ text: string; cookie: string }> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie } });
    const [set] = response.headers.getSetCookie();
    return { text: await response.text(), cookie: set?.split(";")[0] ?? cookie };
  };
  const { text, cookie } = await visit("/");
  expect(text).toBe("1");
  expect((await visit("/", cookie)).text).toBe("2");
  const strangers = await Promise.all(Array.from({ length: 20 }, () => visit("/")));
  expect(strangers.map((stranger) => stranger.text)).toEqual(Array.from({ length: 20 }, () => "1"));
  expect(await pool.queryRow("select count(*)::int as n from session")).toEqual({ n: 21 });
  expect((await visit("/leave", cookie)).text).toBe("left");
  expect((await visit("/", cookie)).text).toBe("1");
  server.close();
  store.close();
  expect(pool.ended).toBe(false);
  await library.whole(pool);
});

test("connect-pg-simple: an error of the database reaches the store's caller", async () => {
  const pool = library.pool();
  const store = new (connectPgSimple(session))({ pool, tableName: "absent", pruneSessionInterval: false });
  const error = await new Promise((resolve) => {
    store.get("nobody", resolve);
  });
  expect(error).toMatchObject({ code: "42P01" });
  store.close();
  await library.whole(pool);
});
