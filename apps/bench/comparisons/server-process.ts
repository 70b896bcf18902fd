import { fork } from "node:child_process";
import { atExit } from "../../../scripts/lib/cleanup.ts";
import { numberField } from "../harness/values.ts";

/** A server in a process of its own: its work must not be counted as a client's. */
export interface ServerProcess {
  /** Sends a message and returns the server's answer to it. One at a time. */
  ask(message: object): Promise<unknown>;
  stop(): Promise<void>;
}

export function startServerProcess(program: URL): ServerProcess {
  const child = fork(program, [], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const forget = atExit(() => child.kill("SIGKILL"));
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  return {
    ask: (message) =>
      new Promise((resolve, reject) => {
        const ended = (): void => reject(new Error("The server ended"));
        child.once("exit", ended);
        child.once("message", (reply) => {
          child.off("exit", ended);
          resolve(reply);
        });
        child.send(message);
      }),
    async stop() {
      child.kill("SIGKILL");
      await exited;
      forget();
    },
  };
}

export interface DocumentServer {
  readonly url: string;
  /** How many connections were opened to it so far. */
  connections(): Promise<number>;
  stop(): Promise<void>;
}

/** Node's own server of small JSON documents, over HTTPS. */
export async function startDocumentServer(tls: { key: string; cert: string }): Promise<DocumentServer> {
  const server = startServerProcess(new URL("./document-server.ts", import.meta.url));
  const port = numberField(await server.ask({ type: "listen", tls }), "port");
  return {
    url: `https://localhost:${port}`,
    connections: async () => numberField(await server.ask({ type: "count" }), "connections"),
    stop: () => server.stop(),
  };
}
