/** The server of pool-http, in a process of its own: one responder, over TCP and over TLS. */
import { createServer as createTcpServer, type Server } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { numberField } from "../harness/values.ts";
import { Responder } from "./responder.ts";

type Message = { type: "listen"; key: string; cert: string } | { type: "observed" };

const responder = new Responder();

process.on("disconnect", () => process.exit(0));
process.on("message", (message: Message) => {
  if (message.type === "observed") {
    const { user, system } = process.cpuUsage();
    process.send?.({ answer: responder.take(), cpuMs: (user + system) / 1000 });
    return;
  }
  const { key, cert } = message;
  const plain = createTcpServer({ noDelay: true }, responder.accept);
  const tls = createTlsServer({ key, cert, ALPNProtocols: ["http/1.1"], noDelay: true }, responder.accept);
  void Promise.all([portOf(plain), portOf(tls)]).then(([plainPort, tlsPort]) =>
    process.send?.({ plain: plainPort, tls: tlsPort }),
  );
});

function portOf(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(numberField(server.address(), "port")));
  });
}
