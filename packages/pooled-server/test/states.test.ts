import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { type LifecycleState, type ServerStateMessage } from "@vg/pooled-server";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { Lifecycle } from "../src/lifecycle/lifecycle.ts";
import { listen } from "./support/server.ts";

const silent = (): Lifecycle => new Lifecycle("test", () => undefined);

test("whatever is asked of it, the lifecycle only moves forward and ends closed", () => {
  const order: Record<LifecycleState, number> = { starting: 0, ready: 1, degraded: 1, draining: 2, closed: 3 };
  const states = fc.constantFrom<LifecycleState[]>("starting", "ready", "degraded", "draining", "closed");
  fc.assert(
    fc.property(fc.array(states, { maxLength: 30 }), (requests) => {
      const lifecycle = silent();
      const seen: [LifecycleState, LifecycleState][] = [];
      lifecycle.onChange((state, previous) => seen.push([state, previous]));
      for (const next of requests) {
        const before = lifecycle.state;
        const moved = lifecycle.to(next);
        expect(lifecycle.state).toBe(moved ? next : before);
        expect(order[lifecycle.state]).toBeGreaterThanOrEqual(order[before]);
        expect(lifecycle.serving).toBe(["ready", "degraded"].includes(lifecycle.state));
        expect(lifecycle.started).toBe(seen.some(([state]) => state === "ready" || state === "degraded"));
      }
      for (const [state, previous] of seen) expect(state).not.toBe(previous);
    }),
  );
});

test("every listener hears of every change in order, also where one of them causes the next", () => {
  const lifecycle = silent();
  const heard: string[] = [];
  lifecycle.onChange((state) => state === "degraded" && lifecycle.to("draining", "the listener wants it"));
  lifecycle.onChange((state, previous, reason) => heard.push(`${previous} > ${state}: ${reason}`));
  lifecycle.to("degraded", "failing: database");
  expect(heard).toEqual(["starting > degraded: failing: database", "degraded > draining: the listener wants it"]);
});

test("a listener that was taken off hears nothing more, even of the change that is being told", () => {
  const lifecycle = silent();
  const heard: string[] = [];
  const off = lifecycle.onChange((state) => heard.push(state));
  lifecycle.to("ready");
  off();
  off();
  lifecycle.to("draining");
  expect(heard).toEqual(["ready"]);
});

test("a listener that throws, rejects, or whose failure cannot even be reported, stops nobody", async () => {
  const errors: unknown[] = [];
  const lifecycle = new Lifecycle("test", (error) => {
    errors.push(error);
    throw new Error("the report fails too");
  });
  const heard: string[] = [];
  lifecycle.onChange(() => {
    throw new Error("sync");
  });
  lifecycle.onChange(async () => {
    throw new Error("async");
  });
  lifecycle.onChange((state) => heard.push(state));
  lifecycle.to("ready");
  await Promise.resolve();
  await Promise.resolve();
  expect(heard).toEqual(["ready"]);
  expect(errors.map(String)).toEqual(["Error: sync", "Error: async"]);
});

test("changes are published to vg:pooled-server:state with the service's name and the reason", async () => {
  const messages: ServerStateMessage[] = [];
  const listener = (message: unknown): void => void messages.push(message as ServerStateMessage);
  subscribe("vg:pooled-server:state", listener);
  onTestFinished(() => void unsubscribe("vg:pooled-server:state", listener));
  const { server } = await listen((_request, response) => response.end(), { serviceName: "shop" });
  server.addHealthCheck("stock", { run: () => Promise.reject(new Error("empty")) });
  await server.checkHealth();
  await server.close();
  expect(messages.filter((message) => message.server === "shop")).toEqual([
    { server: "shop", state: "ready", previous: "starting", reason: undefined },
    { server: "shop", state: "degraded", previous: "ready", reason: "failing: stock" },
    { server: "shop", state: "draining", previous: "degraded", reason: undefined },
    { server: "shop", state: "closed", previous: "draining", reason: undefined },
  ]);
});

test("the log says which check made the server degraded, and when it passes again", async () => {
  const { server, logs } = await listen((_request, response) => response.end());
  let works = false;
  server.addHealthCheck("stock", {
    run: async () => {
      if (!works) throw new Error("cannot reach postgres://shop:hunter2@db/stock");
    },
  });
  await server.checkHealth();
  works = true;
  await server.checkHealth();
  expect(logs.find("A health check fails")).toMatchObject({
    level: "warn",
    check: "stock",
    critical: false,
    output: "cannot reach postgres://shop:[redacted]@db/stock",
  });
  expect(logs.find({ message: "Lifecycle", state: "degraded" })).toMatchObject({ reason: "failing: stock" });
  expect(logs.find("A health check passes again")).toMatchObject({ check: "stock" });
  expect(logs.find({ message: "Lifecycle", state: "ready", previous: "degraded" })).toBeDefined();
});
