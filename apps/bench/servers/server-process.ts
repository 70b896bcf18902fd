/** One server of the comparison, in a process of its own: says its port, then its CPU time as often as it is asked. */
import { startServer, type Surroundings } from "./contenders.ts";

export interface ServerTask extends Surroundings {
  name: string;
}

export interface ServerUse {
  /** User and system, since the start. */
  cpuMicros: number;
}

const task = JSON.parse(process.argv[2] ?? "null") as ServerTask;
process.on("message", () => {
  const { user, system } = process.cpuUsage();
  process.send?.({ cpuMicros: user + system } satisfies ServerUse);
});
process.once("disconnect", () => process.exit());
const port = await startServer(task.name, task);
process.send?.({ port });
