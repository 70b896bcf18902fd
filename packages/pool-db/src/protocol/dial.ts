import type pg from "pg";
import { forgetClosedStatements } from "./closed-statements.ts";
import { destroyNow, refuseQueries, trackTransactionStatus } from "./pg-client.ts";

export type ClientConstructor = new (config: pg.ClientConfig) => pg.Client;

/**
 * Connects a new client. `lost` is called when it ends later, for whatever reason, with the error where there was one; and
 * with `ended` false as soon as the client reports an error, after which it is of no use any more. The client keeps an
 * error listener for life, so an error of its socket never ends the process.
 *
 * When the signal is aborted the socket is cut at once, whatever state the dial is in.
 */
export function dial(
  client: pg.Client,
  signal: AbortSignal,
  lost: (error: Error, ended: boolean) => void,
): Promise<pg.Client> {
  return new Promise((resolve, reject) => {
    trackTransactionStatus(client);
    forgetClosedStatements(client);
    let failure: Error | undefined;
    const abort = (): void => {
      destroyNow(client);
      reject(new Error("the dial was called off"));
    };
    client.on("error", (error) => {
      failure ??= error;
      lost(error, false);
    });
    client.once("end", () => {
      refuseQueries(client);
      lost(failure ?? new Error("Connection terminated unexpectedly"), true);
    });
    signal.addEventListener("abort", abort, { once: true });
    client.connect((error?: Error | null) => {
      signal.removeEventListener("abort", abort);
      if (error) {
        // A server that refuses the login may leave the socket open for a while.
        destroyNow(client);
        reject(error);
      } else {
        resolve(client);
      }
    });
  });
}
