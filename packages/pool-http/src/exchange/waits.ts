/** What a request waits for between its attempts. An interruption ends every one of these waits at once. */
import { Connection } from "../transport/connection.ts";
import { PatientTimer } from "../patient-timer.ts";
import type { Transport, Waiter } from "../transport/transport.ts";
import type { Failure } from "../failure.ts";
import type { Interruption } from "./interruption.ts";
import type { OpenedBody } from "./request-body.ts";

export async function waitForConnection(
  waiter: Waiter,
  transport: Transport,
  interruption: Interruption,
  queueLimit: { ms: number | undefined; passed: () => Failure },
): Promise<Connection | Failure> {
  interruption.stopWith((failure) => transport.leave(waiter, failure));
  // A dial has limits of its own, and a waiter that has one keeps one until it is served or its dial fails.
  const leave = (): void => {
    if (waiter.dial === undefined) transport.leave(waiter, queueLimit.passed());
  };
  const timer = queueLimit.ms === undefined ? undefined : new PatientTimer(queueLimit.ms, leave);
  const result = await waiter.result;
  timer?.cancel();
  interruption.waited();
  if (result instanceof Connection && interruption.failure !== undefined) {
    // Both happened in one turn; the connection serves somebody else.
    result.release();
    return interruption.failure;
  }
  return result;
}

/** What the caller's function makes; what it makes too late is closed. */
export function waitForBody(
  opening: Promise<OpenedBody>,
  interruption: Interruption,
  failed: (error: unknown) => Failure,
): Promise<OpenedBody | Failure> {
  return new Promise((resolve) => {
    let wanted = true;
    interruption.stopWith((failure) => {
      wanted = false;
      resolve(failure);
    });
    opening.then(
      (opened) => {
        if (wanted) resolve(opened);
        else opened.dispose();
      },
      (error: unknown) => resolve(failed(error)),
    );
  });
}

export async function waitFor(delayMs: number, interruption: Interruption): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, delayMs);
    interruption.stopWith(() => {
      clearTimeout(timer);
      resolve();
    });
  });
  interruption.waited();
}

/** For work that goes on by itself and whose result nobody needs after an interruption. */
export async function waitForResult<T>(work: Promise<T>, interruption: Interruption): Promise<T | Failure> {
  const result = await new Promise<T | Failure>((resolve, reject) => {
    interruption.stopWith(resolve);
    work.then(resolve, reject);
  });
  interruption.waited();
  return result;
}
