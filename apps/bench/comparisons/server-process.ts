import { fork } from "node:child_process";
import { numberField } from "../harness/values.ts";

const PROCESS = new URL("./document-server.ts", import.meta.url);

export interface ServerProcess {
  readonly url: string;
  /** How many connections were opened to it so far. */
  connections(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts the document server in a process of its own: its work must not be counted as a client's. */
export async function startServerProcess(tls?: { key: string; cert: string }): Promise<ServerProcess> {
  const child = fork(PROCESS, [], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const ask = (message: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error("The document server ended"));
      child.once("exit", ended);
      child.once("message", (reply) => {
        child.off("exit", ended);
        resolve(reply);
      });
      child.send(message);
    });
  const port = numberField(await ask({ type: "listen", tls }), "port");
  return {
    url: `${tls === undefined ? "http" : "https"}://localhost:${port}`,
    connections: async () => numberField(await ask({ type: "count" }), "connections"),
    async stop() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}
