import type pg from "pg";

/** What pg's connection keeps of its prepared statements; private fields, so each may be missing. */
interface Connection {
  close?(message: { readonly type?: string; readonly name?: string }): unknown;
  parsedStatements?: Record<string, unknown>;
  prependOnceListener?(event: "readyForQuery", listener: () => void): unknown;
}

/**
 * Lets pg's client forget each prepared statement that it closes. It closes one when a value for it cannot be
 * serialised, but goes on to use its name as that of a prepared statement, and every later query of that name on the
 * connection fails (SQLSTATE 26000), whoever the borrower is. Call it once for each new client, before it connects.
 */
export function forgetClosedStatements(client: pg.ClientBase): void {
  const { connection } = client as { connection?: Connection };
  const close = connection?.close;
  if (connection === undefined || close === undefined) return;
  connection.close = (message) => {
    const { type, name } = message;
    if (type === "S" && name !== undefined) {
      // When everything that was sent with the Close has been answered, and before the client sends what comes next.
      connection.prependOnceListener?.("readyForQuery", () => delete connection.parsedStatements?.[name]);
    }
    return close.call(connection, message);
  };
}
