import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { createConnection, createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { createPooledServer, currentRequest, type LifecycleState, type RequestContext } from "@vg/pooled-server";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { captureLogs } from "@vg/logging/testing";
import { fakeTime } from "./support/fake-time.ts";
import { gate } from "./support/server.ts";

/**
 * Any order of starts, checks, requests, closers and ends is played against a real server on real sockets, while the time
 * stands still but where a step moves it; after each step the state is compared with what must hold in every state, and
 * at the end with what must have become of everything.
 */
const DEADLINE_MS = 1_000;
/** What the phases may take beyond it, to kill in. */
const SLACK_MS = 150;

type Step =
  | { do: "listen" | "listen on a busy port" | "close" | "destroy" | "check now" }
  | { do: "close in"; ms: number }
  | { do: "add check"; critical: boolean }
  | { do: "set check"; which: number; to: "up" | "down" | "hung" }
  | { do: "remove check"; which: number }
  | { do: "request"; endsAt: "answer" | "draining" | "lastCall" | "signal" | "never" }
  | { do: "answer" | "leave"; which: number }
  | { do: "on close"; how: "fast" | "throws" | "loses" | "hangs" }
  | { do: "wait"; ms: number };

const which = fc.nat(5);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.constant<Step>({ do: "listen" }) },
  { weight: 1, arbitrary: fc.constantFrom<Step>({ do: "listen on a busy port" }, { do: "close" }, { do: "destroy" }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("close in" as const), ms: fc.constantFrom(0, 100, 900) }) },
  { weight: 1, arbitrary: fc.constant<Step>({ do: "check now" }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("add check" as const), critical: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("set check" as const),
      which,
      to: fc.constantFrom("up" as const, "down" as const, "hung" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove check" as const), which }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("request" as const),
      endsAt: fc.constantFrom(
        "answer" as const,
        "draining" as const,
        "lastCall" as const,
        "signal" as const,
        "never" as const,
      ),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("answer" as const, "leave" as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("on close" as const),
      how: fc.constantFrom("fast" as const, "throws" as const, "loses" as const, "hangs" as const),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(5, 60, 300) }) },
);

/** How it may end: more ends than one, while this and that goes on. */
const ending: fc.Arbitrary<Step> = fc.oneof(
  fc.constantFrom<Step>({ do: "close" }, { do: "destroy" }, { do: "listen" }),
  fc.record({ do: fc.constant("close in" as const), ms: fc.constantFrom(0, 100, 900) }),
  fc.record({ do: fc.constant("answer" as const), which }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(5, 100) }),
);

const settings = fc.record({
  shutdownDelayMs: fc.constantFrom(0, 0, 200),
  /** What a listener does with the server in the middle of a change. */
  listener: fc.constantFrom("nothing" as const, "closes when degraded" as const, "throws" as const),
});

interface Check {
  state: "up" | "down" | "hung";
  readonly critical: boolean;
  readonly remove: () => void;
  removed: boolean;
}

interface Request {
  readonly endsAt: string;
  readonly answer: () => void;
  readonly leave: () => void;
  /** The status, or "cut". */
  outcome: number | "cut" | undefined;
  endedAt: number | undefined;
}

async function play(
  steps: readonly Step[],
  { shutdownDelayMs, listener }: { shutdownDelayMs: number; listener: string },
) {
  const time = fakeTime();
  const { logger } = captureLogs();
  const busy = createServer();
  await once(busy.listen(0, "127.0.0.1"), "listening");
  let underWay = 0;
  const begun = new Map<string, (context: RequestContext, respond: () => void) => void>();
  const server = await createPooledServer(
    (request, response) => {
      const path = request.url as string;
      underWay++;
      response.once("close", () => underWay--);
      begun.get(path)?.(currentRequest() as RequestContext, () => response.end("done"));
    },
    {
      logger,
      rateLimitPerSecond: 0,
      clock: time.clock,
      healthIntervalMs: 50,
      shutdownTimeoutMs: DEADLINE_MS,
      shutdownDelayMs,
    },
  );
  const told: [LifecycleState, LifecycleState][] = [];
  server.onStateChange((state, previous) => void told.push([state, previous]));
  if (listener === "closes when degraded")
    server.onStateChange((state) => void (state === "degraded" && server.close()));
  if (listener === "throws") {
    server.onStateChange(() => {
      throw new Error("listener");
    });
  }

  const checks: Check[] = [];
  const requests: Request[] = [];
  const closers: { how: string; calledAt: number | undefined }[] = [];
  const order: number[] = [];
  let url: string | undefined;
  let listening: Promise<unknown> | undefined;
  let closing: ReturnType<typeof server.close> | undefined;
  let everServed = false;
  /** When it must be over, by the clock, from the first close() on. */
  let dueAt = Infinity;
  let closedAt: number | undefined;
  let drainingAt = Infinity;
  server.onStateChange((state) => {
    if (state === "draining") {
      drainingAt = time.clock.now();
      dueAt = Math.min(dueAt, drainingAt + DEADLINE_MS);
    }
    if (state === "closed") closedAt = time.clock.now();
  });

  const close = (options?: { deadlineMs: number }): void => {
    const promise = options === undefined ? server.close() : server.close(options);
    if (closing !== undefined) expect(promise).toBe(closing);
    closing = promise;
    dueAt = Math.min(dueAt, time.clock.now() + (options?.deadlineMs ?? DEADLINE_MS));
    expect(["draining", "closed"]).toContain(server.state);
  };

  const probe = (path: string): Promise<number | "refused"> =>
    new Promise((resolve) => {
      const request = httpRequest(`${url}${path}`, { agent: false }, (response: IncomingMessage) => {
        response.resume();
        resolve(response.statusCode as number);
      });
      request.on("error", () => resolve("refused"));
      request.end();
    });

  const take: Record<Step["do"], (step: never) => unknown> = {
    listen: async () => {
      const attempt = server.listen(0);
      if (
        listening !== undefined ||
        closing !== undefined ||
        server.state === "draining" ||
        server.state === "closed"
      ) {
        await expect(attempt).rejects.toMatchObject({ code: "ERR_VG_SERVER_LIFECYCLE" });
        return;
      }
      listening = attempt.then(
        (address) => (url = address.url),
        (error: { code: string }) => expect(error.code).toBe("ERR_VG_SERVER_LIFECYCLE"),
      );
    },
    "listen on a busy port": async () => {
      const error: unknown = await server
        .listen((busy.address() as AddressInfo).port)
        .catch((reason: unknown) => reason);
      const over = ["draining", "closed"].includes(server.state);
      expect((error as { code: string }).code).toBe(
        over || listening !== undefined ? "ERR_VG_SERVER_LIFECYCLE" : "ERR_VG_SERVER_LISTEN",
      );
    },
    close: () => close(),
    "close in": ({ ms }: { ms: number }) => close({ deadlineMs: ms }),
    destroy: () => close({ deadlineMs: 0 }),
    "check now": () => void server.checkHealth(),
    "add check": ({ critical }: { critical: boolean }) => {
      const check: Check = {
        state: "up",
        critical,
        removed: false,
        remove: server.addHealthCheck(`check ${checks.length}`, {
          critical,
          timeoutMs: 40,
          run: async () => {
            if (check.state === "hung") await new Promise(() => undefined);
            if (check.state === "down") throw new Error("down");
          },
        }),
      };
      checks.push(check);
    },
    // One that hung once never ends: its status stays.
    "set check": ({ which: i, to }: { which: number; to: Check["state"] }) => {
      const check = checks[i];
      if (check !== undefined && check.state !== "hung") check.state = to;
    },
    "remove check": ({ which: i }: { which: number }) => {
      const check = checks[i];
      check?.remove();
      if (check !== undefined) check.removed = true;
    },
    request: async ({ endsAt }: { endsAt: string }) => {
      if (url === undefined) return;
      const path = `/${requests.length}`;
      const arrived = gate();
      let respond = (): void => undefined;
      begun.set(path, (context, finish) => {
        respond = endsAt === "never" ? respond : finish;
        const signals: Partial<Record<string, AbortSignal>> = {
          draining: context.draining,
          lastCall: context.lastCall,
          signal: context.signal,
        };
        signals[endsAt]?.addEventListener("abort", finish);
        arrived.open();
      });
      const client = httpRequest(`${url}${path}`, { agent: false });
      const entry: Request = {
        endsAt,
        answer: () => respond(),
        leave: () => void client.destroy(),
        outcome: undefined,
        endedAt: undefined,
      };
      const came = (outcome: number | "cut"): void => {
        entry.endedAt ??= time.clock.now();
        entry.outcome ??= outcome;
      };
      requests.push(entry);
      client.on("response", (response) => {
        response.resume();
        response.on("end", () => came(response.statusCode as number));
        response.on("error", () => came("cut"));
      });
      client.on("error", () => came("cut"));
      client.end();
      await Promise.race([arrived.opened, once(client, "close").catch(() => undefined)]);
    },
    answer: ({ which: i }: { which: number }) => requests[i]?.answer(),
    leave: ({ which: i }: { which: number }) => requests[i]?.leave(),
    "on close": ({ how }: { how: string }) => {
      if (server.state === "draining" || server.state === "closed") return;
      const index = closers.length;
      const closer: (typeof closers)[0] = { how, calledAt: undefined };
      closers.push(closer);
      server.onClose(`closer ${index}`, () => {
        closer.calledAt = time.clock.now();
        order.push(index);
        expect(underWay).toBe(0);
        if (how === "throws") throw new Error("no");
        if (how === "loses") return ["a row"];
        return how === "hangs" ? new Promise(() => undefined) : undefined;
      });
    },
    wait: ({ ms }: { ms: number }) => time.advance(ms),
  };

  for (const taken of steps) {
    await take[taken.do](taken as never);
    await time.settle();
    await compare();
  }
  close();
  await time.advance(DEADLINE_MS + SLACK_MS);
  await listening;
  await ended();
  busy.close();

  async function compare(): Promise<void> {
    const { state } = server;
    if (["ready", "degraded"].includes(state)) everServed = true;
    const over = state === "draining" || state === "closed";
    // One truth: what was told leads from the start to where it is, each from the one before.
    expect(told.map(([, previous]) => previous)).toEqual(
      ["starting", ...told.map(([next]) => next)].slice(0, told.length),
    );
    expect(told.at(-1)?.[0] ?? "starting").toBe(state);
    const results = Object.values(server.getHealth().checks);
    if (!over && state !== "starting") {
      expect(state).toBe(results.some(({ status }) => status === "fail") ? "degraded" : "ready");
    }
    if (url === undefined) return;
    const live = await probe("/livez");
    if (live === "refused") {
      // Nobody is refused before the delay is over.
      expect(over).toBe(true);
      return;
    }
    const critical = results.some((result) => result.critical && result.status === "fail");
    // The state may have gone on while the probes were under way.
    const now = server.state;
    const [ready, startup, health] = [await probe("/readyz"), await probe("/startupz"), await probe("/v2/health")];
    if (now !== server.state || now === "closed" || ready === "refused" || health === "refused") return;
    expect([live, ready, startup, health]).toEqual([
      200,
      ["ready", "degraded"].includes(now) && !critical ? 200 : 503,
      everServed || ["ready", "degraded"].includes(now) ? 200 : 503,
      ["ready", "degraded"].includes(now) ? 200 : 503,
    ]);
  }

  async function ended(): Promise<void> {
    expect(server.state).toBe("closed");
    const report = await (closing as ReturnType<typeof server.close>);
    expect(told.slice(-2).map(([state]) => state)).toEqual(["draining", "closed"]);
    expect(report.duration_ms).toBeLessThanOrEqual(DEADLINE_MS + SLACK_MS);
    expect(closedAt).toBeLessThanOrEqual(dueAt + SLACK_MS);
    expect(report.clean).toBe(report.stuck.length === 0);
    // Every request has come to an end, and what was stuck is named.
    expect(requests.filter(({ outcome }) => outcome === undefined)).toEqual([]);
    for (const stuck of report.stuck) {
      expect(stuck).toMatch(
        /^(requests: GET \/\d+ \(\d+ ms\) (was aborted|ignored the abort and was cut)|closer \d+: (no|a row|not finished after \d+ ms))$/,
      );
    }
    // Who was given the time to end by itself, and takes it, is not stuck; who hears the abort does not ignore it.
    if (!steps.some((taken) => taken.do === "destroy" || taken.do === "close in")) {
      for (const [i, { endsAt, endedAt }] of requests.entries()) {
        const named = report.stuck.filter((stuck) => stuck.startsWith(`requests: GET /${i} `));
        if (endsAt === "draining" || endsAt === "lastCall") expect(named).toEqual([]);
        // A subscription does not keep the others waiting.
        if (endsAt === "draining") expect(endedAt).toBeLessThanOrEqual(drainingAt + shutdownDelayMs + SLACK_MS);
        if (endsAt === "signal") expect(named.join()).not.toContain("ignored");
      }
    }
    const troubled = closers.filter(({ how }) => how !== "fast").length;
    expect(report.stuck.filter((stuck) => stuck.startsWith("closer"))).toHaveLength(troubled);
    // Each closer once, the last one first.
    expect(order).toEqual(closers.map((_, i) => i).toReversed());
    if (url !== undefined) {
      await expect(once(createConnection(Number(new URL(url).port), "127.0.0.1"), "connect")).rejects.toThrow(
        "ECONNREFUSED",
      );
    }
    // No timer is left, of whatever was closed.
    expect(vi.getTimerCount()).toBe(0);
  }
}

test("whatever happens in whatever order, there is one truth, and everything comes to its end by the deadline", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 20 }),
      fc.array(ending, { maxLength: 6 }),
      settings,
      (steps, ends, given) => play([...steps, ...ends], given),
    ),
    { numRuns: Number(process.env["MODEL_RUNS"] ?? 40) },
  );
}, 120_000);
