import { once } from "node:events";
import { spawn } from "node:child_process";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** A port whose listener is asleep and whose backlog is full: the kernel answers no further connection. */
export async function deafPort(): Promise<{ port: number } & AsyncDisposable> {
  const program = `
    const server = require("node:net").createServer();
    server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => console.log(server.address().port));
  `;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
  const port = Number(line);
  child.kill("SIGSTOP");
  const fillers: Socket[] = [];
  for (let n = 0; n < 8; n++) fillers.push(connect(port, "127.0.0.1").on("error", () => undefined));
  while (fillers.filter((socket) => socket.readyState === "open").length < 2) await delay(5);
  return {
    port,
    async [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}
