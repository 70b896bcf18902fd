/** The forms in which pg.Pool's methods are called. */
import type pg from "pg";
import { ConnectError } from "../errors.ts";
import type { Lease } from "../pool/slot.ts";
import { leadToCaller } from "./lead-to-caller.ts";

export type Callback = (error: Error | undefined, result?: unknown) => void;

/** A cursor, a query stream, or a `pg.Query`: it speaks to the connection itself. */
export function isSubmittable(value: unknown): value is pg.Submittable {
  return typeof (value as { submit?: unknown } | null | undefined)?.submit === "function";
}

/** pg's `query(input, values?, callback)`: the callback, wherever it stands. */
export function callbackOf(...given: unknown[]): Callback | undefined {
  return given.find((argument) => typeof argument === "function") as Callback | undefined;
}

/**
 * Answers by callback where there is one and by promise otherwise. The callback runs in the caller's async context, never
 * within the call, and what it throws is an uncaught error as with any callback.
 */
export function answer<T>(
  promise: Promise<T>,
  callback: Callback | undefined,
  PromiseClass: PromiseConstructorLike,
): Promise<T> | undefined {
  if (callback === undefined) return inClass(PromiseClass, promise);
  promise.then(
    (result) => process.nextTick(callback, undefined, result),
    (error: unknown) => process.nextTick(callback, error),
  );
  return undefined;
}

/** The promise as one of pg.Pool's `Promise` option. */
export function inClass<T>(PromiseClass: PromiseConstructorLike, promise: Promise<T>): Promise<T> {
  if (PromiseClass === Promise) return promise;
  return new PromiseClass<T>((resolve, reject) => void promise.then(resolve, reject)) as Promise<T>;
}

/** pg's own client, with the `release` of this checkout. */
export function checkOut(lease: Lease<pg.Client>): pg.PoolClient {
  const client = lease.resource as pg.PoolClient;
  client.release = (discard?: Error | boolean): void => lease.release(discard);
  return client;
}

/** As `checkOut`, or rejects with what pg.Pool would reject with: callers look at the `code`. */
export function checkOutLater(leasing: Promise<Lease<pg.Client>>): Promise<pg.PoolClient> {
  return leasing.then(checkOut, (caught: unknown) => {
    const error = caught instanceof ConnectError && caught.cause instanceof Error ? caught.cause : caught;
    leadToCaller(error);
    throw error;
  });
}

/** Runs a cursor or the like on a connection that is released when the server is done with it. */
export function submit(submittable: pg.Submittable, leasing: Promise<Lease<pg.Client>>): void {
  const wasWithdrawn = watchWithdrawal(submittable);
  leasing.then(
    (lease) => {
      // Sent now, it would wait for a reader who has gone, and keep its connection.
      if (wasWithdrawn()) return lease.release();
      const client = lease.resource;
      const release = (): void => {
        client.off("drain", release);
        client.off("end", release);
        lease.release();
      };
      client.once("drain", release);
      client.once("end", release);
      try {
        client.query(submittable);
      } catch (error) {
        release();
        fail(submittable, error);
      }
    },
    (error: unknown) => fail(submittable, error),
  );
}

/** Whether a cursor is closed, or a stream destroyed, before it has its connection; asked once, when it has one. */
function watchWithdrawal(submittable: pg.Submittable): () => boolean {
  const given = submittable as { destroyed?: unknown; close?: unknown };
  // A cursor does not know that it was closed before it was sent.
  let closed = false;
  const { close } = given;
  const own = Object.hasOwn(given, "close");
  const unwatch = (): void => {
    if (own) given.close = close;
    else delete given.close;
  };
  if (typeof close === "function") {
    given.close = (...args: unknown[]): unknown => {
      closed = true;
      unwatch();
      return Reflect.apply(close, given, args);
    };
  }
  return () => {
    if (typeof close === "function" && !closed) unwatch();
    return closed || given.destroyed === true;
  };
}

/** Tells a submittable that never got a connection. */
function fail(submittable: pg.Submittable, error: unknown): void {
  const { handleError, emit } = submittable as { handleError?: unknown; emit?: unknown };
  if (typeof handleError === "function") handleError.call(submittable, error);
  else if (typeof emit === "function") emit.call(submittable, "error", error);
}
